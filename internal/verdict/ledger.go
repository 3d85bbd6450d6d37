package verdict

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/ownership"
)

// Ledger holds a whole history's messages and judges them by id over all groups: missing, repeated, in the wrong lane, and what
// could not be judged. It needs no rules: who may handle a message shows in its tag and in the groups' names. Events may be
// added in any order; one that comes again is ignored.
//
// Where a group broadcasts each of its instances has a message once, the baseline may have a tagged one in its own group and
// beside a lane, and after a crash the client's file of offsets says how much is repeated. That every instance that was up
// got a message isn't judged, for nobody reports who was up.
type Ledger struct {
	seen     map[string]struct{} // eventId
	messages map[string]*entry
	topics   map[string]map[string]struct{} // topic -> base groups that had a message of it
	crashed  map[string]bool                // instance -> it ended without closing its journal
	gaps     []string
	first    time.Time
	last     time.Time
	chains   int
}

// entry is one message.
type entry struct {
	topic      string
	tag        graylib.Tag
	sent       []graylib.Event
	deliveries []graylib.Event // begun and finished
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger {
	return &Ledger{
		seen: make(map[string]struct{}), messages: make(map[string]*entry), topics: make(map[string]map[string]struct{}), crashed: make(map[string]bool),
	}
}

// Crashed notes that an instance ended without closing its journal, or runs still: what it had begun may be begun again later,
// by whomever. It excuses no repeat of its own of what others had begun.
func (l *Ledger) Crashed(instance string) { l.crashed[instance] = true }

// Gap notes that events are missing, and why: a message that nobody handled is then unjudged, and not lost, and one that was
// begun again too, for its failure or its copy may be what is missing.
func (l *Ledger) Gap(why string) { l.gaps = append(l.gaps, why) }

// Add takes an event.
func (l *Ledger) Add(e graylib.Event) {
	if _, known := l.seen[e.EventID]; known {
		return
	}
	l.seen[e.EventID] = struct{}{}
	if l.first.IsZero() || e.Time.Before(l.first) {
		l.first = e.Time
	}
	if e.Time.After(l.last) {
		l.last = e.Time
	}
	if e.Kind == graylib.EventChain {
		l.chains++
		return
	}
	e.Hops, e.Messages, e.EventID, e.RequestID, e.Trace = nil, nil, "", "", "" // a history is long
	m := l.messages[e.ID]
	if m == nil {
		m = &entry{topic: e.Topic, tag: e.MessageTag}
		l.messages[e.ID] = m
	}
	if e.Kind == graylib.EventProduced {
		m.sent = append(m.sent, e)
		m.topic, m.tag = e.Topic, e.MessageTag
		return
	}
	m.deliveries = append(m.deliveries, e)
	groups := l.topics[e.Topic]
	if groups == nil {
		groups = make(map[string]struct{})
		l.topics[e.Topic] = groups
	}
	groups[baseGroup(e)] = struct{}{}
}

// Account is what a history comes to.
type Account struct {
	First     time.Time      `json:"first"`
	Last      time.Time      `json:"last"`
	Chains    int            `json:"chains"`
	Sent      int            `json:"sent"`                // messages that a producer reported, by id
	Unsent    int            `json:"unsent"`              // messages that no producer reported: one-way, from elsewhere, or its producer was killed at that moment
	Twice     int            `json:"storedTwice"`         // ids that are stored more than once: a send that was retried; each copy is a message
	Handled   map[string]int `json:"handled"`             // by base group: messages that a handler acknowledged
	Failed    int            `json:"failedDeliveries"`    // deliveries whose handler failed or panicked
	Repeats   int            `json:"repeatsAfterCrashes"` // deliveries again of what a crashed instance had begun, within G6's span
	Broken    []Finding      `json:"broken,omitempty"`    // promises, each with the message that broke it
	Unjudged  map[string]int `json:"unjudged,omitempty"`  // messages, by why
	GapsKnown []string       `json:"gaps,omitempty"`
}

// LedgerOptions narrow what is judged.
type LedgerOptions struct {
	Groups []string      // base groups; empty = all that had a message of the topic
	Settle time.Duration // messages sent less than this before the last event may be under way: they are unjudged where missing
}

// Judge judges all that was added.
func (l *Ledger) Judge(o LedgerOptions) Account {
	a := Account{First: l.first, Last: l.last, Chains: l.chains, Handled: make(map[string]int), Unjudged: make(map[string]int), GapsKnown: l.gaps}
	spans := make(map[spanKey]int)
	for _, id := range slices.Sorted(maps.Keys(l.messages)) {
		m := l.messages[id]
		slices.SortStableFunc(m.deliveries, func(a, b graylib.Event) int { return a.Time.Compare(b.Time) })
		if len(m.sent) > 0 {
			a.Sent++
		} else {
			a.Unsent++
		}
		if copies(len(m.sent), m.deliveries, "") > 1 {
			a.Twice++
		}
		groups := slices.Sorted(maps.Keys(l.topics[m.topic]))
		if len(o.Groups) > 0 {
			groups = o.Groups
		}
		if len(groups) == 0 {
			a.Unjudged[fmt.Sprintf("sent to topic %s, of which these journals show no consumer", m.topic)]++
		}
		for _, group := range groups {
			l.judge(&a, o, spans, id, m, group)
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(spans), spanKey.compare) {
		switch n := spans[k]; {
		case n <= ownership.DefaultSpan:
		case len(l.gaps) > 0:
			a.Unjudged["handled again in "+k.group+" beyond the span of an instance that had ended"+gapped] += n - ownership.DefaultSpan
		default:
			a.broke(g6, "%d messages of queue %s in group %s were handled again after %s had ended: more than a span of %d", n, k.queue, k.group, k.instance, ownership.DefaultSpan)
		}
	}
	return a
}

// spanKey is one queue in one group, held by one instance that crashed.
type spanKey struct{ instance, group, queue string }

func (k spanKey) compare(o spanKey) int {
	return cmp.Or(cmp.Compare(k.instance, o.instance), cmp.Compare(k.group, o.group), cmp.Compare(k.queue, o.queue))
}

func (a *Account) broke(promise, format string, args ...any) {
	a.Broken = append(a.Broken, Finding{Promise: promise, Text: fmt.Sprintf(format, args...), Hop: -1})
}

// judge judges one message in one base group.
func (l *Ledger) judge(a *Account, o LedgerOptions, spans map[spanKey]int, id string, m *entry, base string) {
	var handledIn []string // groups, once each
	byPlace := make(tallies)
	copied := slices.ContainsFunc(m.deliveries, func(e graylib.Event) bool { // its retries say that they are retries
		return e.Group == base+graylib.GroupTaggedSuffix && e.Reason == graylib.MessageReasonCopy
	})
	for _, e := range m.deliveries {
		if baseGroup(e) != base {
			continue
		}
		byPlace.count(e)
		switch {
		case e.Kind == graylib.EventBegun:
			a.lane(id, m, e)
		case e.Result == graylib.ResultSuccess:
			if !e.Broadcast && !(copied && e.Group == base+graylib.GroupTaggedSuffix) && !slices.Contains(handledIn, e.Group) {
				handledIn = append(handledIn, e.Group)
			}
		case e.Result != graylib.ResultSkipped:
			a.Failed++
		}
	}
	if byPlace.done() {
		a.Handled[base]++
	} else {
		l.missing(a, o, id, m, base, byPlace)
	}
	if len(handledIn) > 1 {
		a.broke(g6, "message %s %s was handled in the groups %s, of which it has one", id, marked(m.tag), strings.Join(handledIn, " and "))
	}
	for _, p := range slices.SortedFunc(maps.Keys(byPlace), place.compare) {
		l.repeated(a, spans, id, m, p, byPlace[p], byPlace.moved(p, m.tag, len(m.sent), m.deliveries, l.crashed))
	}
}

// repeated judges whether a message was begun more often in one place than it failed there, was stored, its failures elsewhere moved
// there, and crashes excuse.
func (l *Ledger) repeated(a *Account, spans map[spanKey]int, id string, m *entry, p place, t *tally, moved int) {
	again := max(len(t.begun)-copies(len(m.sent), m.deliveries, p.group)-t.failed-moved, 0)
	for _, by := range t.begun[:max(len(t.begun)-1, 0)] { // the last one excuses none: nothing came after it
		if again == 0 || !l.crashed[by.Instance] {
			continue
		}
		if !by.Broadcast {
			spans[spanKey{by.Instance, p.group, by.Queue}]++
		}
		a.Repeats++
		again--
	}
	switch {
	case again == 0:
	case len(l.gaps) > 0:
		a.Unjudged["begun more than once in "+p.group+gapped]++
	default:
		var who []string
		for _, e := range t.begun {
			who = append(who, e.Instance)
		}
		a.broke(g6, "message %s %s was begun %s in group %s (%s), though nobody who had begun it before crashed", id, marked(m.tag),
			count(len(t.begun), "time", "times"), p.group, strings.Join(who, ", "))
	}
}

// gapped is why what looks broken may not be.
const gapped = ", but the journals have gaps"

// missing files a message that no handler acknowledged.
func (l *Ledger) missing(a *Account, o LedgerOptions, id string, m *entry, base string, in tallies) {
	if len(m.sent) == 0 {
		a.Unjudged["seen by "+base+" and reported by no producer"]++
		return
	}
	if len(l.gaps) > 0 {
		a.Unjudged["handled by nobody in "+base+gapped]++
		return
	}
	if l.last.Sub(m.sent[0].Time) < o.Settle {
		a.Unjudged["sent less than "+o.Settle.String()+" before the end, and not handled by then"]++
		return
	}
	begun, failed, broadcast := in.sum()
	how := "it was begun by nobody"
	switch {
	case failed > 0 && broadcast:
		a.Unjudged["failed in "+base+", which broadcasts: nothing is retried there"]++
		return
	case failed > 0:
		how = fmt.Sprintf("its handler failed %s", count(failed, "time", "times"))
	case begun > 0:
		how = fmt.Sprintf("it was begun %s and never finished", count(begun, "time", "times"))
	}
	a.broke(g5, "message %s %s, sent at %s to %s%s, was handled by nobody of group %s: %s", id, marked(m.tag),
		m.sent[0].Time.UTC().Format("15:04:05.000"), m.topic, at(m.sent[0].Queue), base, how)
}

func at(queue string) string {
	if queue == "" {
		return ""
	}
	return " " + queue
}

// lane judges who began a message.
func (a *Account) lane(id string, m *entry, e graylib.Event) {
	who := fmt.Sprintf("%s (%s) in group %s", Name(e.Service, e.Tag), e.Instance, e.Group)
	switch promise := misplaced(e, m.tag); {
	case promise == "":
	case m.tag == graylib.Untagged:
		a.broke(promise, "untagged message %s was begun by %s", id, who)
	case e.Group == baseGroup(e) && !e.Broadcast:
		a.broke(promise, "message %s %s was begun by %s, the group of untagged messages", id, marked(m.tag), who)
	default:
		a.broke(promise, "message %s %s was begun by %s", id, marked(m.tag), who)
	}
}
