package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/graychain/graychain/internal/localinfra"
	"github.com/graychain/graychain/internal/proc"
)

func main() {
	proc.GuardMain()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s, err := localinfra.Start(ctx, localinfra.Options{
		State: os.Args[1], Nacos: localinfra.Port{Number: 33800}, Namesrv: localinfra.Port{Number: 33730}, Broker: localinfra.Port{Number: 33741}, Discard: true,
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("READY", s.NacosAddr(), s.NamesrvAddr(), s.BrokerAddr())
	<-ctx.Done()
	s.Stop(context.Background())
}
