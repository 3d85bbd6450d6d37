package graynacos_test

import (
	"log/slog"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graynacos"
)

// A program with a configuration of its own connects by hand. One that is told by the environment imports the package, and no
// more: graylib.Default finds it.
func ExampleOpen() {
	id := graylib.Identity{Service: "orders", Tag: "gray", Instance: "orders-1"}
	c := graylib.Config{NacosAddr: "127.0.0.1:8848"}
	registry, rules, err := graynacos.Open(id, c, slog.Default())
	if err != nil {
		panic(err) // a wrong setting; a Nacos that is away is no error
	}
	rt, err := graylib.New(id, graylib.WithConfig(c), graylib.WithRegistry(registry), graylib.WithRules(rules))
	if err != nil {
		panic(err)
	}
	defer func() { _ = rt.Close() }()
}
