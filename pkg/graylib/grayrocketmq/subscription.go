package grayrocketmq

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/sql92"
)

// Handler is the application's function, as the client's Subscribe takes it.
type Handler = func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error)

// subscription is one topic that the application wants.
type subscription struct {
	topic   string      // as on the wire, namespace included
	tags    []string    // the application's tag list; nil = all
	expr    *sql92.Expr // the application's SQL92 expression; nil = none
	handler Handler
}

// newSubscription reads the application's selector as the client does.
func newSubscription(topic string, s consumer.MessageSelector, f Handler) (*subscription, error) {
	if topic == "" {
		return nil, fmt.Errorf("%w: topic %q: want a topic's name", ErrInvalidOption, topic)
	}
	if f == nil {
		return nil, fmt.Errorf("%w: topic %q: the handler is nil", ErrInvalidOption, topic)
	}
	sub := &subscription{topic: topic, handler: f}
	switch s.Type {
	case "", consumer.TAG:
		if s.Expression == "" || s.Expression == "*" {
			return sub, nil
		}
	case consumer.SQL92:
		var err error
		if sub.expr, err = sql92.Parse(s.Expression); err != nil {
			return nil, fmt.Errorf("%w: topic %q: %w", ErrInvalidOption, topic, err)
		}
		return sub, nil
	default:
		return nil, fmt.Errorf("%w: topic %q: expression type %q: want %s or %s", ErrInvalidOption, topic, s.Type, consumer.TAG, consumer.SQL92)
	}
	for tag := range strings.SplitSeq(s.Expression, "||") {
		if tag = strings.TrimSpace(tag); tag != "" && !slices.Contains(sub.tags, tag) {
			sub.tags = append(sub.tags, tag)
		}
	}
	return sub, nil
}

// topicsOf returns the topics of subscriptions.
func topicsOf(subs []*subscription) []string {
	topics := make([]string, len(subs))
	for i, s := range subs {
		topics[i] = s.topic
	}
	return topics
}

// wants tells whether the application's expression matches.
func (s *subscription) wants(msg *primitive.MessageExt) bool {
	if s.expr != nil {
		properties := msg.GetProperties()
		ok, err := s.expr.Match(func(name string) (string, bool) {
			v, ok := properties[name]
			return v, ok
		})
		return ok && err == nil // a broker delivers no message for which the expression has no value
	}
	return s.tags == nil || slices.Contains(s.tags, msg.GetTags())
}

// expression is the application's own, as a broker would take it.
func (s *subscription) expression() string {
	if s.expr != nil {
		return s.expr.String()
	}
	if s.tags == nil {
		return "*"
	}
	return strings.Join(s.tags, "||")
}

// selector is what a member subscribes with: the group's constant filter.
func (s *subscription) selector(k kind, own graylib.Tag, f graylib.Filter) consumer.MessageSelector {
	if k == kindAll && (f != graylib.FilterClient || s.expr == nil) {
		if s.expr != nil {
			return consumer.MessageSelector{Type: consumer.SQL92, Expression: s.expr.String()}
		}
		return consumer.MessageSelector{Type: consumer.TAG, Expression: s.expression()}
	}
	if f == graylib.FilterClient {
		if k == kindBase && s.tags != nil {
			return consumer.MessageSelector{Type: consumer.TAG, Expression: strings.Join(s.tags, "||")}
		}
		return consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}
	}
	return consumer.MessageSelector{Type: consumer.SQL92, Expression: s.sql(k, own)}
}

// sql is the group's filter as an SQL92 expression.
func (s *subscription) sql(k kind, own graylib.Tag) string {
	property := graylib.MessageKeys.Tag
	switch k {
	case kindTagged:
		return property + " IS NOT NULL"
	case kindLane:
		return property + " = " + sqlString(string(own))
	}
	expr := property + " IS NULL"
	if s.expr != nil {
		return "(" + expr + ") AND (" + s.expr.Text() + ")"
	}
	if s.tags != nil {
		list := make([]string, len(s.tags))
		for i, t := range s.tags {
			list[i] = sqlString(t)
		}
		expr += " AND TAGS IN (" + strings.Join(list, ", ") + ")"
	}
	return expr
}

func sqlString(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
