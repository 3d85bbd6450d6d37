package lanestate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
)

// Errors of [Reader.Resend].
var (
	// ErrBusy is wrapped where somebody else is sending the same dead letters again right now.
	ErrBusy = errors.New("somebody else is sending these dead letters again")
	// ErrNoDeadLetter is wrapped where no dead letter has the id that was asked for.
	ErrNoDeadLetter = errors.New("no such dead letter")
	// ErrSentBefore is wrapped where the dead letter that was asked for by its id was sent again before.
	ErrSentBefore = errors.New("dead letter was sent again before")
)

// Resending says which dead letters to send again.
type Resending struct {
	Group  string // whose dead letters: <group>, <group>_<tag> or <group>__tagged
	Topic  string // only those of this topic; empty = of all
	ID     string // only the one with this message id; empty = all
	Again  bool   // also what was sent again before
	DryRun bool   // send nothing
	// Each is told of each dead letter in turn, after it was sent; nil = nobody is.
	Each func(DeadLetter)
}

// DeadLetter is one message that its group gave up.
type DeadLetter struct {
	ID         string      `json:"id"` // of the message, the same as ever
	Topic      string      `json:"topic"`
	Tag        graylib.Tag `json:"tag"`
	Keys       string      `json:"keys,omitempty"`
	Died       time.Time   `json:"died"`
	SentBefore bool        `json:"sentBefore,omitempty"` // it was left alone: an earlier run had sent it
}

// Resent is what [Reader.Resend] came to.
type Resent struct {
	Sent   int `json:"sent"`   // or would be, with DryRun
	Before int `json:"before"` // left alone: an earlier run had sent them
}

// Resend sends dead letters to the topic that they were sent to first, each once; all groups of the topic see them, and those
// that had handled them do so again, where they don't know the message by its id (the group's retry topic is no way: brokers make
// dead letters at once of what is sent there while queues of the group are locked). What was sent is remembered at the broker, as the offset of a group per topic
// ([graylib.GroupResend]) in each of the dead letters' queues. Body, keys, tag, gray tag and message id stay as they were; the
// deliveries are counted from the beginning. Dead letters stay where they are, until the broker deletes them with age.
//
// What is remembered is how far they were sent. One that is asked for by its id is part of that only where it is the very next
// in its queue: otherwise the run that sends those before it sends it once more.
//
// Where the process dies, or the broker's answer is lost, between the sending of a message and the remembering, that one is
// sent again by the next run. Two runs at the same time exclude each other by the broker's queue lock.
func (r *Reader) Resend(ctx context.Context, brokers map[string]string, o Resending) (Resent, error) {
	var sum Resent
	found := false
	for _, broker := range slices.Sorted(maps.Keys(brokers)) {
		b := resender{Reader: r, o: o, broker: broker, addr: brokers[broker], brokers: brokers, progress: make(map[lettersOf]int64), id: "graychain-resend-" + rand.Text()}
		err := b.run(ctx)
		sum.Sent += b.sum.Sent
		sum.Before += b.sum.Before
		found = found || b.found
		if err != nil {
			return sum, fmt.Errorf("dead letters of group %q on broker %q: %w", o.Group, broker, err)
		}
	}
	if o.ID != "" && !found {
		return sum, fmt.Errorf("%w: group %q has none with id %q", ErrNoDeadLetter, o.Group, o.ID)
	}
	return sum, nil
}

// lettersOf is what is remembered of each: the dead letters in one queue that were sent to one topic first.
type lettersOf struct {
	queue int
	topic string
}

// resender sends one broker's dead letters of one group.
type resender struct {
	*Reader
	o        Resending
	broker   string
	addr     string
	brokers  map[string]string
	id       string // of the lock's holder
	progress map[lettersOf]int64
	sum      Resent
	found    bool
}

func (b *resender) run(ctx context.Context) error {
	queues, err := b.queues(ctx, b.broker, b.addr, toolsGroup, DeadPrefix+b.o.Group)
	if err != nil {
		return err
	}
	for _, q := range queues {
		if err := b.queue(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// lockEvery is how often the lock is renewed, which lasts 60 s.
const lockEvery = 10 * time.Second

func (b *resender) lock(ctx context.Context, q remoting.Queue) error {
	locked, err := b.api.Lock(ctx, b.addr, graylib.GroupResend, b.id, []remoting.Queue{q})
	if err == nil && len(locked) == 0 {
		err = fmt.Errorf("%w, or was within the last minute: try again", ErrBusy)
	}
	return err
}

func (b *resender) queue(ctx context.Context, q Queue) error {
	var renewed time.Time
	if !b.o.DryRun {
		if err := b.lock(ctx, q.remoting()); err != nil {
			return err
		}
		renewed = time.Now()
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
			defer cancel()
			_ = b.api.Unlock(ctx, b.addr, graylib.GroupResend, b.id, []remoting.Queue{q.remoting()}) // or it lapses
		}()
	}
	from, err := b.api.MinOffset(ctx, b.addr, q.remoting())
	if err != nil {
		return err
	}
	var failed error
	err = b.each(ctx, b.addr, toolsGroup, q.remoting(), from, q.End, filterOf(q.Topic, ""), func(m *primitive.MessageExt) bool {
		if failed = ctx.Err(); failed == nil {
			failed = b.one(ctx, q, m)
		}
		if failed == nil && !b.o.DryRun && time.Since(renewed) > lockEvery {
			failed = b.lock(ctx, q.remoting())
			renewed = time.Now()
		}
		return failed == nil
	})
	return errors.Join(failed, err)
}

// one sends one dead letter, where it is wanted.
func (b *resender) one(ctx context.Context, q Queue, m *primitive.MessageExt) error {
	topic := m.GetProperty(primitive.PropertyRetryTopic)
	if topic == "" {
		topic = m.GetProperty(propertyDeadOrigin)
	}
	if topic == "" {
		return fmt.Errorf("message %s doesn't say which topic it was sent to first", m.MsgId)
	}
	if b.o.Topic != "" && b.o.Topic != topic || b.o.ID != "" && b.o.ID != m.MsgId {
		return nil
	}
	b.found = true
	tag, _ := graylib.ParseTag(m.GetProperty(graylib.MessageKeys.Tag)) // malformed: sent as it is
	letter := DeadLetter{ID: m.MsgId, Topic: topic, Tag: tag, Keys: m.GetKeys(), Died: time.UnixMilli(m.StoreTimestamp)}
	sent, err := b.sentUpTo(ctx, q, topic)
	if err != nil {
		return err
	}
	if m.QueueOffset < sent && !b.o.Again {
		if b.o.ID != "" {
			return fmt.Errorf("%w: %s", ErrSentBefore, m.MsgId)
		}
		letter.SentBefore = true
		b.sum.Before++
	} else {
		if !b.o.DryRun {
			if err := b.send(ctx, m, topic); err != nil {
				return err
			}
			// One asked for by its id stands alone: those before it of the same topic may not have been sent.
			if m.QueueOffset >= sent && (b.o.ID == "" || sent == m.QueueOffset) {
				if err := b.remember(ctx, q, topic, m.QueueOffset+1); err != nil {
					return err
				}
			}
		}
		b.sum.Sent++
	}
	if b.o.Each != nil {
		b.o.Each(letter)
	}
	return nil
}

// progressGroup is the group whose offset says how far a topic's dead letters were sent again.
func progressGroup(topic string) string { return graylib.GroupResend + graylib.GroupLaneInfix + topic }

// sentUpTo is the offset up to which a topic's dead letters of the queue were sent again.
func (b *resender) sentUpTo(ctx context.Context, q Queue, topic string) (int64, error) {
	of := lettersOf{q.ID, topic}
	if at, ok := b.progress[of]; ok {
		return at, nil
	}
	at, _, err := b.api.ConsumerOffset(ctx, b.addr, progressGroup(topic), q.remoting())
	if err == nil {
		b.progress[of] = at
	}
	return at, err
}

func (b *resender) remember(ctx context.Context, q Queue, topic string, next int64) error {
	group := progressGroup(topic)
	if b.progress[lettersOf{q.ID, topic}] == 0 { // perhaps the first time: brokers take no offset of a group that they don't know
		if _, err := b.api.Group(ctx, b.addr, group); errors.Is(err, remoting.ErrNoGroup) {
			err = b.api.CreateGroup(ctx, b.addr, group, nil)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
	}
	if err := b.api.SetConsumerOffset(ctx, b.addr, group, q.remoting(), next); err != nil {
		return err
	}
	b.progress[lettersOf{q.ID, topic}] = next
	return nil
}

// Properties by which the broker knows a message's past; a message that is sent again begins anew without them
// (org.apache.rocketmq.common.message.MessageConst).
const (
	propertyDeadOrigin   = "DLQ_ORIGIN_TOPIC"
	propertyDeadOriginID = "DLQ_ORIGIN_MESSAGE_ID"
)

var past = []string{
	propertyDeadOrigin, propertyDeadOriginID, primitive.PropertyRetryTopic, primitive.PropertyReconsumeTime, primitive.PropertyMaxReconsumeTimes,
	primitive.PropertyOriginMessageId, primitive.PropertyRealTopic, primitive.PropertyRealQueueId, primitive.PropertyDelayTimeLevel,
	primitive.PropertyConsumeStartTime, primitive.PropertyMinOffset, primitive.PropertyMaxOffset, primitive.PropertyTransactionPrepared,
	primitive.PropertyTranscationPreparedQueueOffset, primitive.PropertyTranscationCheckTimes, "TIMER_DELIVER_MS", "TIMER_DELAY_SEC", "TIMER_DELAY_MS",
	primitive.PropertyCluster,
}

func (b *resender) send(ctx context.Context, m *primitive.MessageExt, topic string) error {
	properties := maps.Clone(m.GetProperties())
	for _, name := range past {
		delete(properties, name)
	}
	route, err := b.api.Route(ctx, topic)
	if err != nil {
		return err
	}
	addr := b.addr
	if _, here := route.Brokers[b.broker]; !here {
		for _, name := range slices.Sorted(maps.Keys(route.Brokers)) {
			addr = route.Brokers[name]
			break
		}
	}
	return b.api.Send(ctx, addr, graylib.GroupResend, remoting.Outgoing{Topic: topic, Body: m.Body, Flag: m.Flag, Properties: properties})
}
