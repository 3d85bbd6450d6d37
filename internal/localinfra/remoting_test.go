package localinfra

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// answering is a server that answers every request with bytes made from its header.
func answering(t *testing.T, answer func(remotingHeader) []byte) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				var sizes [8]byte
				if _, err := io.ReadFull(conn, sizes[:]); err != nil {
					return
				}
				rest := make([]byte, binary.BigEndian.Uint32(sizes[:4])-4)
				if _, err := io.ReadFull(conn, rest); err != nil {
					return
				}
				var h remotingHeader
				if json.Unmarshal(rest[:binary.BigEndian.Uint32(sizes[4:])], &h) == nil {
					_, _ = conn.Write(answer(h))
				}
			}()
		}
	}()
	return l.Addr().String()
}

func frame(header, body string) []byte {
	f := binary.BigEndian.AppendUint32(nil, uint32(4+len(header)+len(body)))
	f = binary.BigEndian.AppendUint32(f, uint32(len(header)))
	return append(f, header+body...)
}

func TestRouted(t *testing.T) {
	const route = `{"brokerDatas":[{"brokerName":"broker-a","brokerAddrs":{"0":"127.0.0.1:10911","1":"127.0.0.1:1"}}]}`
	addr := answering(t, func(h remotingHeader) []byte {
		if h.Code != codeRouteByTopic || h.Ext["acceptStandardJsonOnly"] != "true" {
			return frame(`{"code":1,"remark":"unexpected request"}`, "")
		}
		if h.Ext["topic"] != "T" {
			return frame(`{"code":17,"remark":"No topic route info"}`, "")
		}
		return frame(`{"code":0}`, route)
	})
	if err := routed(t.Context(), addr, "T", "127.0.0.1:10911"); err != nil {
		t.Error(err)
	}
	if err := routed(t.Context(), addr, "T", "127.0.0.1:1"); err == nil {
		t.Error("a slave's address counts as the broker's")
	}
	err := routed(t.Context(), addr, "other", "127.0.0.1:10911")
	if !errors.Is(err, errRemoting) || !strings.Contains(err.Error(), `17: "No topic route info"`) {
		t.Errorf("routed = %v, want the server's refusal", err)
	}
}

func TestRemotingRefusesNonsense(t *testing.T) {
	for name, answer := range map[string][]byte{
		"too long":          {0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1},
		"negative body":     {0, 0, 0, 5, 0, 0, 0, 9, '{'},
		"no header's size":  {0, 0, 0, 1, 0, 0, 0, 0},
		"header is no JSON": frame("hello", ""),
		"cut":               frame(`{"code":0}`, "body")[:14],
		"empty":             {},
	} {
		t.Run(name, func(t *testing.T) {
			addr := answering(t, func(remotingHeader) []byte { return answer })
			if body, err := remoting(t.Context(), addr, 1, nil, nil); err == nil {
				t.Errorf("answer %q was taken for %q", answer, body)
			}
		})
	}
}

func TestRemotingEndsWithItsContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	begin := time.Now()
	if _, err := remoting(ctx, l.Addr().String(), 1, nil, nil); err == nil {
		t.Error("an answer from nobody")
	}
	if took := time.Since(begin); took > remotingLimit*9/10 {
		t.Errorf("took %s after its context ended", took)
	}
}
