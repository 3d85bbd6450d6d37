package remoting

import (
	"bufio"
	"net"
	"testing"
	"time"
)

// TestUnknownQuestionsAreRefused: a broker that asks a member what it can't answer isn't left waiting, unless it doesn't wait; what it
// says of groups is told.
func TestUnknownQuestionsAreRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	c, err := New(Config{NameServers: []string{ln.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	told := make(chan Notice, 1)
	s, err := c.Open(t.Context(), ln.Addr().String(), "id", func(n Notice) { told <- n })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	broker, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = broker.Close() }()
	if err := broker.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	const runningInfo = 307
	for _, h := range []header{
		{Code: runningInfo, Opaque: 7, Flag: flagOneWay},
		{Code: reqNotifyMembers, Opaque: 8, Flag: flagOneWay, ExtFields: map[string]string{"consumerGroup": "g"}},
		{Code: runningInfo, Opaque: 9},
	} {
		frame, err := appendFrame(nil, h, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := broker.Write(frame); err != nil {
			t.Fatal(err)
		}
	}
	answer, _, err := readFrame(bufio.NewReader(broker))
	if err != nil || answer.Opaque != 9 || answer.Code != codeNotSupported || answer.Flag != flagResponse {
		t.Errorf("answered %+v, %v: want that request 9 isn't supported, and nothing before", answer, err)
	}
	if n := <-told; n.Group != "g" || n.Reset != nil {
		t.Errorf("told %+v, want the members of g", n)
	}
}
