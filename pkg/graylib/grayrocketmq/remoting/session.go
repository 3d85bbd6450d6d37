package remoting

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Session is one connection to one broker under one client id: what a group's member says of itself, the locks that it
// holds and what it commits all travel on it, so that the broker and the member agree on whether the member is there.
// Unlike a [Client] it doesn't connect again: once its connection is lost it is over. Its requests are the Client's methods,
// with any address, and may take longer ([DefaultSessionTimeout]). It is safe for concurrent use.
type Session struct {
	*Client

	addr string
	id   string
}

// Notice is what a broker tells a member of a group by itself.
type Notice struct {
	Group string
	Reset map[Queue]int64 // an operator has set these offsets; nil: the group's members have changed
}

// Open connects to a broker. notify is called, on the reader's goroutine and so it must not block, each time the broker says
// something of a group by itself. What can't be read is left out; what else it asks (a client's running information, to consume a
// message directly) is answered as not supported.
func (c *Client) Open(ctx context.Context, addr, clientID string, notify func(Notice)) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	cn, err := dial(ctx, &c.dialer, addr, func(req Command) bool {
		switch req.Code {
		case reqNotifyMembers:
			notify(Notice{Group: req.Ext["consumerGroup"]})
		case reqResetOffset:
			if to, err := parseReset(req.Body); err == nil {
				notify(Notice{Group: req.Ext["group"], Reset: to})
			}
		default:
			return false
		}
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, addr, err)
	}
	config := c.config
	config.Timeout = config.SessionTimeout
	return &Session{Client: &Client{config: config, pinned: cn}, addr: addr, id: clientID}, nil
}

// Addr returns the broker's address.
func (s *Session) Addr() string { return s.addr }

// ID returns the client id.
func (s *Session) ID() string { return s.id }

// Done is closed when the connection is lost or closed.
func (s *Session) Done() <-chan struct{} { return s.pinned.done }

// Close ends the connection. The broker takes the member off the groups' lists.
func (s *Session) Close() error {
	s.pinned.close()
	return nil
}

// Subscription is a topic with its filter, as a heartbeat names it.
type Subscription struct {
	Topic      string
	Expression string
	Type       string // "TAG" or "SQL92"
}

// Heartbeat says that the client id is a member of a clustering, concurrent group with these subscriptions. Brokers forget
// a member that says nothing for 120 s. version orders what members say of one topic: the highest wins.
func (s *Session) Heartbeat(ctx context.Context, group string, subs []Subscription, version int64) error {
	type subscription struct {
		ClassFilterMode bool     `json:"classFilterMode"`
		Topic           string   `json:"topic"`
		SubString       string   `json:"subString"`
		TagsSet         []string `json:"tagsSet"`
		CodeSet         []int    `json:"codeSet"`
		SubVersion      int64    `json:"subVersion"`
		ExpressionType  string   `json:"expressionType"`
	}
	list := make([]subscription, len(subs))
	for i, sub := range subs {
		list[i] = subscription{
			Topic: sub.Topic, SubString: sub.Expression, TagsSet: []string{}, CodeSet: []int{}, SubVersion: version, ExpressionType: sub.Type,
		}
	}
	body, err := json.Marshal(map[string]any{
		"clientID": s.id, "producerDataSet": []any{},
		"consumerDataSet": []any{map[string]any{
			"groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
			"consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "subscriptionDataSet": list, "unitMode": false,
		}},
	})
	if err != nil {
		return err
	}
	if _, err := s.call(ctx, s.addr, Command{Code: reqHeartbeat, Body: body}); err != nil {
		return fmt.Errorf("heartbeat of group %q: %w", group, err)
	}
	return nil
}

// Unregister takes the member off the group's list at once.
func (s *Session) Unregister(ctx context.Context, group string) error {
	_, err := s.call(ctx, s.addr, Command{Code: reqUnregister, Ext: map[string]string{"clientID": s.id, "consumerGroup": group}})
	if err != nil {
		return fmt.Errorf("unregister from group %q: %w", group, err)
	}
	return nil
}

// TimedOut tells whether a request failed because no answer came in time, while the connection stood.
func TimedOut(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// pullMargin is how much longer than the broker's hold a pull waits for its answer.
const pullMargin = 5 * time.Second
