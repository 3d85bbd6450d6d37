package handoffbench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// memberEnv marks a process as a member; its value is a memberConfig.
const memberEnv = "GRAYCHAIN_HANDOFF_MEMBER"

// service is what all processes are instances of.
const service = "handoff"

// lane is the tag of the lane that comes and goes.
const lane graylib.Tag = "gray"

type memberConfig struct {
	Namesrv, Topic, Group string
	Tag                   graylib.Tag
	Handler               time.Duration
	Listed                time.Time
}

// What a member is told on its standard input, one word a line, and what it says on its standard output, one line each. Its
// input's end ends it: a member doesn't outlive the program that started it.
const (
	tellStart = "start" // join; answered by sayStarted
	tellStop  = "stop"  // shut down cleanly, and end

	sayReady   = "ready"
	sayStarted = "started"
	sayBegun   = "b" // b <time, ns since 1970> <topic> <broker>/<queue> <offset> <message id>
	sayDone    = "d" // d <message id>
)

// MemberMain runs a member and doesn't return, where this process was started as one; otherwise it returns at once.
func MemberMain() {
	value := os.Getenv(memberEnv)
	if value == "" {
		return
	}
	if err := runMember(value); err != nil {
		fmt.Fprintln(os.Stderr, "handoff member:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// document lists the lane: what members and the sender go by.
func document(listed time.Time) (graylib.Rules, error) {
	doc, err := rules.Parse([]byte(fmt.Sprintf("revision: 1\nlanes:\n- tag: %s\n  listed: %s\n  entries: []\n", lane, listed.UTC().Format(time.RFC3339))))
	if err != nil {
		return nil, err
	}
	return rules.Compile(doc)
}

// newRuntime makes the runtime of one process.
func newRuntime(namesrv string, tag graylib.Tag, listed time.Time) (*graylib.Runtime, error) {
	r, err := document(listed)
	if err != nil {
		return nil, err
	}
	return graylib.New(graylib.Identity{Service: service, Tag: tag, Addr: "127.0.0.1:1"},
		graylib.WithRules(graylib.StaticRules(r)),
		graylib.WithConfig(graylib.Config{NamesrvAddr: namesrv}),
		graylib.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))))
}

func runMember(value string) error {
	var c memberConfig
	if err := json.Unmarshal([]byte(value), &c); err != nil {
		return fmt.Errorf("%s=%q: %w", memberEnv, value, err)
	}
	rt, err := newRuntime(c.Namesrv, c.Tag, c.Listed)
	if err != nil {
		return err
	}
	gray, err := grayrocketmq.OpenConsumer([]consumer.Option{consumer.WithGroupName(c.Group)}, grayrocketmq.WithConsumerRuntime(rt))
	if err != nil {
		return err
	}
	if err := gray.Subscribe(c.Topic, consumer.MessageSelector{}, handler(c.Handler)); err != nil {
		return err
	}
	say(sayReady)
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); {
		switch orders.Text() {
		case tellStart:
			if err := gray.Start(); err != nil {
				return err
			}
			say(sayStarted)
		case tellStop:
			return gray.Shutdown()
		}
	}
	return errors.New("the program that started this member is gone")
}

// say writes one line by one write(2), which a pipe takes whole: what was said before a kill is read.
func say(line string) { _, _ = os.Stdout.WriteString(line + "\n") }

// handler says what it begins and what it has done.
func handler(work time.Duration) func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	return func(_ context.Context, msgs ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, m := range msgs {
			say(begunLine(time.Now(), m))
			time.Sleep(work)
			say(sayDone + " " + m.MsgId)
		}
		return consumer.ConsumeSuccess, nil
	}
}

func begunLine(at time.Time, m *primitive.MessageExt) string {
	line := append(make([]byte, 0, 160), sayBegun+" "...)
	line = strconv.AppendInt(line, at.UnixNano(), 10)
	line = append(append(line, ' '), m.Queue.Topic...)
	line = append(append(line, ' '), queueName(m.Queue)...)
	line = strconv.AppendInt(append(line, ' '), m.QueueOffset, 10)
	return string(append(append(line, ' '), m.MsgId...))
}

func queueName(q *primitive.MessageQueue) string { return q.BrokerName + "/" + strconv.Itoa(q.QueueId) }
