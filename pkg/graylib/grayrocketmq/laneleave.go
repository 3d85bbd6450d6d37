package grayrocketmq

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// unsuspended waits while the consumer is suspended; false says that ctx ended.
func (m *laneMember) unsuspended(ctx context.Context) bool {
	for ctx.Err() == nil {
		m.mu.Lock()
		resume := m.resume
		m.mu.Unlock()
		if resume == nil {
			return true
		}
		select {
		case <-resume:
		case <-ctx.Done():
		}
	}
	return false
}

func (m *laneMember) suspend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.resume == nil {
		m.resume = make(chan struct{})
	}
}

func (m *laneMember) unsuspend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.resume != nil {
		close(m.resume)
		m.resume = nil
	}
}

// unsubscribe gives a topic's queues up.
func (m *laneMember) unsubscribe(topic string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropped[topic] = true
	for _, b := range m.brokers {
		m.balance(b)
	}
	return nil
}

// outdated tells whether the application has unsubscribed from a topic that the member's id claims.
func (m *laneMember) outdated(subs []*subscription) bool { return !slices.Equal(m.subs, subs) }

func (m *laneMember) lag(sum map[string]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for queue, q := range m.queues {
		if span := q.machine.Span(); span != nil && !strings.HasPrefix(queue.Topic, retryPrefix) {
			sum[unqualified(m.c.set.namespace, queue.Topic)] += max(q.max-span.Committed(), 0)
		}
	}
}

// close gives all queues up: nothing more begins.
func (m *laneMember) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaving = true
	for _, b := range m.brokers {
		m.balance(b)
	}
}

// leaveMargin is what a leave may take beyond the drain: the last commits and unlocks.
const leaveMargin = 3 * time.Second

// leave gives all queues up, and leaves the group when that is done. It returns the number of handlers still running.
func (m *laneMember) leave(ctx context.Context) int {
	m.close()
	m.unwatch()
	until := m.c.opts.drain + leaveMargin
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), until)
	defer cancel()
	for !m.settled() && sleep(wait, time.Millisecond) {
	}
	m.mu.Lock()
	running := m.running
	var sessions []*remoting.Session
	for _, b := range m.brokers {
		if b.session != nil {
			sessions = append(sessions, b.session)
		}
	}
	m.mu.Unlock()
	for _, s := range sessions {
		if err := s.Unregister(wait, m.place.group); err != nil {
			m.c.log().Debug("leaving a group without the broker's answer", "group", m.place.group, "error", err)
		}
	}
	m.cancel()
	m.closeSessions()
	m.wg.Wait()
	return running
}

// settled tells whether no queue is held any more, as far as can be known.
func (m *laneMember) settled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range m.queues {
		if q.b.session != nil && !q.machine.Settled() {
			return false
		}
	}
	return m.running == 0
}

func (m *laneMember) closeSessions() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.brokers {
		if b.session != nil {
			_ = b.session.Close()
		}
	}
}
