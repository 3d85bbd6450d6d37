package grayrocketmq

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// TestStrategyThatPanics: the application's strategy is asked from goroutines of ours, and a panic there must not end the process.
func TestStrategyThatPanics(t *testing.T) {
	all := []*primitive.MessageQueue{{Topic: "T", BrokerName: "b"}}
	m := &laneMember{id: "me"}
	m.c = &Consumer{}
	for _, tc := range []struct {
		strategy consumer.AllocateStrategy
		fails    bool
	}{
		{consumer.AllocateByAveragely, false},
		{func(string, string, []*primitive.MessageQueue, []string) []*primitive.MessageQueue { panic("no room") }, true},
	} {
		m.c.set.strategy = tc.strategy
		mine, err := m.byStrategy(all, []string{"me"})
		if errors.Is(err, errStrategy) != tc.fails || tc.fails && !strings.Contains(err.Error(), "no room") || !tc.fails && len(mine) != 1 {
			t.Errorf("%v, %v", mine, err)
		}
	}
}
