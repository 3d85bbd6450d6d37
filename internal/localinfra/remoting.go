package localinfra

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The little of RocketMQ's remoting protocol that tells whether the servers are usable: a frame is its length and its
// header's length, both in four bytes (the header's first byte is the encoding, 0 for JSON), the header, the body.

const (
	codeUpdateBrokerConfig = 25
	codeRouteByTopic       = 105

	// frameLimit bounds an answer; a route takes some hundred bytes.
	frameLimit = 16 << 20
	// remotingLimit bounds a request where the context does not.
	remotingLimit = 3 * time.Second
)

// errRemoting means that a server answered with an error.
var errRemoting = errors.New("the server refuses")

type remotingHeader struct {
	Code     int               `json:"code"`
	Language string            `json:"language"`
	Version  int               `json:"version"`
	Opaque   int               `json:"opaque"`
	Flag     int               `json:"flag"`
	Remark   string            `json:"remark,omitempty"`
	Ext      map[string]string `json:"extFields,omitempty"`
}

// remoting sends one request on a connection of its own and returns the answer's body.
func remoting(ctx context.Context, addr string, code int, ext map[string]string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, remotingLimit)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()

	header, err := json.Marshal(remotingHeader{Code: code, Language: "GO", Version: 317, Opaque: 1, Ext: ext})
	if err != nil {
		return nil, err
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(header)+len(body)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(header)))
	frame = append(append(frame, header...), body...)
	if _, err := conn.Write(frame); err != nil {
		return nil, err
	}

	var sizes [8]byte
	if _, err := io.ReadFull(conn, sizes[:]); err != nil {
		return nil, err
	}
	total := int(binary.BigEndian.Uint32(sizes[:4]))
	head := int(binary.BigEndian.Uint32(sizes[4:]) & 0xffffff)
	if total > frameLimit || total < 4 || head > total-4 {
		return nil, fmt.Errorf("%s answered code %d with a frame of %d bytes, %d of them its header", addr, code, total, head)
	}
	rest := make([]byte, total-4)
	if _, err := io.ReadFull(conn, rest); err != nil {
		return nil, err
	}
	var answer remotingHeader
	if err := json.Unmarshal(rest[:head], &answer); err != nil {
		return nil, fmt.Errorf("%s answered code %d with a header that is no JSON: %w", addr, code, err)
	}
	if answer.Code != 0 {
		return nil, fmt.Errorf("%w code %d with %d: %q", errRemoting, code, answer.Code, answer.Remark)
	}
	return rest[head:], nil
}

// routed tells whether the name server's route of a topic leads to the broker at an address.
func routed(ctx context.Context, namesrv, topic, broker string) error {
	body, err := remoting(ctx, namesrv, codeRouteByTopic, map[string]string{"topic": topic, "acceptStandardJsonOnly": "true"}, nil)
	if err != nil {
		return fmt.Errorf("route of topic %q at the name server: %w", topic, err)
	}
	var route struct {
		Brokers []struct {
			Addrs map[string]string `json:"brokerAddrs"`
		} `json:"brokerDatas"`
	}
	if err := json.Unmarshal(body, &route); err != nil {
		return fmt.Errorf("route of topic %q at the name server: %w", topic, err)
	}
	for _, b := range route.Brokers {
		if b.Addrs["0"] == broker {
			return nil
		}
	}
	return fmt.Errorf("route of topic %q at the name server leads to %v, not to %s", topic, route.Brokers, broker)
}

// registerNow makes a broker register at its name servers at once: it does so whenever its permission is set, and
// otherwise every 30 seconds.
func registerNow(ctx context.Context, broker string) error {
	_, err := remoting(ctx, broker, codeUpdateBrokerConfig, nil, []byte("brokerPermission=6\n"))
	return err
}
