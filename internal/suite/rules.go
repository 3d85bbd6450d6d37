package suite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graynacos"
	"github.com/graychain/graychain/pkg/graylib/rules"
)

// rulesClient is the connection to the config centre.
type rulesClient struct{ *graynacos.Client }

// Store returns the rules document's store in this suite's Nacos.
func (s *Suite) Store(ctx context.Context) (rules.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rules == nil {
		c, err := graynacos.Dial(ctx, graylib.Config{NacosAddr: s.options.NacosAddr}, slog.New(slog.DiscardHandler),
			graynacos.WithStateDir(filepath.Join(s.options.State, "client")))
		if err != nil {
			return nil, err
		}
		s.rules = &rulesClient{c}
	}
	return s.rules.Client, nil
}

// Rules returns the document in force, as Nacos has it now; [graylib.NoRules] where there is none.
func (s *Suite) Rules(ctx context.Context) (graylib.Rules, error) {
	store, err := s.Store(ctx)
	if err != nil {
		return nil, err
	}
	content, _, err := store.Get(ctx)
	if err != nil {
		return nil, err
	}
	return compile(content)
}

// compiled are rules that also tell which services have entries.
type compiled struct {
	graylib.Rules
	governed map[string]bool
}

// Governs tells whether a service has entries, in whatever lane.
func (c compiled) Governs(service string) bool { return c.governed[service] }

func compile(content []byte) (graylib.Rules, error) {
	c := compiled{graylib.NoRules, map[string]bool{}}
	if len(content) == 0 {
		return c, nil
	}
	doc, err := rules.Parse(content)
	if err != nil {
		return nil, fmt.Errorf("the rules document in Nacos: %w", err)
	}
	for _, l := range doc.Lanes {
		for _, e := range l.Entries {
			c.governed[e.Service] = true
		}
	}
	c.Rules, err = rules.Compile(doc)
	return c, err
}

// Publish publishes what change makes of the document's text, and returns when every live instance applies it.
func (s *Suite) Publish(ctx context.Context, change func(current []byte) ([]byte, error)) (rules.Result, error) {
	store, err := s.Store(ctx)
	if err != nil {
		return rules.Result{}, err
	}
	result, err := modify(ctx, store, change)
	if err != nil {
		return result, err
	}
	for {
		old := s.revision.Load()
		if result.Revision <= old || s.revision.CompareAndSwap(old, result.Revision) {
			break
		}
	}
	return result, s.WaitRouted(ctx)
}

// unreachableLimit is how long a Nacos that was there before may be away: on a busy machine its client takes a slow answer
// for a lost connection, and connects again.
const (
	unreachableLimit = 20 * time.Second
	unreachableEvery = 250 * time.Millisecond
)

// modify is rules.Modify, tried again while Nacos can't be reached.
func modify(ctx context.Context, store rules.Store, change func(current []byte) ([]byte, error)) (rules.Result, error) {
	limit, cancel := context.WithTimeout(ctx, unreachableLimit)
	defer cancel()
	for {
		result, err := rules.Modify(ctx, store, change)
		if !errors.Is(err, graynacos.ErrUnreachable) {
			return result, err
		}
		select {
		case <-time.After(unreachableEvery):
		case <-limit.Done():
			return result, err
		}
	}
}

// SetMode publishes how consumer a handles a lane's messages: auto (the lane, or stand-ins while it is away), ignore (the
// lane alone) or all (the baseline too).
func (s *Suite) SetMode(ctx context.Context, tag graylib.Tag, mode graylib.Mode) (rules.Result, error) {
	return s.Publish(ctx, func(current []byte) ([]byte, error) { return fitMode(current, tag, mode) })
}

// Demo is what `graychain up` shows: the request that the rules colour for a lane, and what was done to the rules.
type Demo struct {
	Name  string   // value of the query parameter name that the lane's entry picks
	Notes []string // what was done to the document, one line each
}

// demoName is the value that the first lane's entry picks (DESIGN.md); the demo of a further lane adds its tag.
const demoName = "xiaoming"

// PublishDemo sees to it that the rules list the lane, and that a's messages of it are handled whether or not the lane has a
// consumer: in mode auto, or all where the document says so. A document that exists keeps its lanes and entries.
func (s *Suite) PublishDemo(ctx context.Context, tag graylib.Tag) (Demo, error) {
	var demo Demo
	began := time.Now()
	result, err := s.Publish(ctx, func(current []byte) ([]byte, error) {
		next, d, err := demoDocument(current, tag, graylib.ModeAuto)
		demo = d
		return next, err
	})
	if err != nil {
		return demo, err
	}
	s.took("rules published", time.Since(began))
	if result.Changed {
		demo.Notes = append(demo.Notes, fmt.Sprintf("published as revision %d", result.Revision))
	} else {
		demo.Notes = append(demo.Notes, "nothing had to be changed")
	}
	demo.Notes = append(demo.Notes, result.Notes...)
	return demo, nil
}

// demoDocument makes the document that PublishDemo publishes.
func demoDocument(current []byte, tag graylib.Tag, mode graylib.Mode) ([]byte, Demo, error) {
	demo := Demo{Name: demoName}
	next := current
	if len(current) == 0 {
		next = []byte("# The rules of this suite, as `graychain up` wrote them: edit them by `graychain rules edit`.\n")
		demo.Notes = append(demo.Notes, "no rules were published yet")
	}
	before, err := compile(current)
	if err != nil {
		return nil, demo, err
	}
	_, listed := before.Lane(tag)
	if d, taken := before.Colour(Consumer, demoRequest(demoName)); taken && d.Tag != tag || !listed && hasEntry(current, demoName) {
		demo.Name = demoName + "-" + string(tag)
	}
	if !listed {
		entry := rules.Entry{Name: demo.Name, Service: Consumer, Path: "/dubbo", When: []rules.Condition{
			{From: graylib.FromQuery, Key: "name", Op: rules.OpEqual, Value: rules.Value{demo.Name}},
		}}
		if next, err = rules.AddLane(next, rules.Lane{Tag: tag, Entries: []rules.Entry{entry}}); err != nil {
			return nil, demo, err
		}
		demo.Notes = append(demo.Notes, fmt.Sprintf("lane %s listed, entry name=%s", tag, demo.Name))
	} else {
		demo.Notes = append(demo.Notes, fmt.Sprintf("revision %d was published before; its lanes and entries stay", before.Revision()))
	}
	fitted := next
	keep := len(current) > 0 && mode == graylib.ModeAuto && before.Consumption(Consumer, ConsumerGroup, DefaultTopic).Mode(tag) == graylib.ModeAll
	if !keep {
		if fitted, err = fitMode(next, tag, mode); err != nil {
			return nil, demo, err
		}
	} else {
		mode = graylib.ModeAll
	}
	if string(fitted) != string(next) {
		what := map[graylib.Mode]string{
			graylib.ModeAuto: "the lane's, or the baseline's while it is away (auto)", graylib.ModeIgnore: "ignored by the baseline",
			graylib.ModeAll: "handled by the baseline too (all)",
		}[mode]
		demo.Notes = append(demo.Notes, fmt.Sprintf("messages of lane %s to consumer %s: %s", tag, Consumer, what))
	}
	after, err := compile(fitted)
	if err != nil {
		return nil, demo, err
	}
	if got := after.Consumption(Consumer, ConsumerGroup, DefaultTopic).Mode(tag); got != mode {
		demo.Notes = append(demo.Notes, fmt.Sprintf("an entry that is more specific keeps lane %s in mode %s", tag, got))
	}
	if d, ok := after.Colour(Consumer, demoRequest(demo.Name)); !ok || d.Tag != tag {
		demo.Notes = append(demo.Notes, fmt.Sprintf("the document's entries do not give name=%s the tag %s", demo.Name, tag))
	}
	return fitted, demo, nil
}

// hasEntry tells whether a lane has an entry of the name, a retired one's too, which colours nothing.
func hasEntry(content []byte, name string) bool {
	doc, err := rules.Parse(content)
	return err == nil && slices.ContainsFunc(doc.Lanes, func(l rules.Lane) bool {
		return slices.ContainsFunc(l.Entries, func(e rules.Entry) bool { return e.Name == name })
	})
}

func demoRequest(name string) graylib.Request {
	return &Request{Path: "/dubbo", Query: map[string][]string{"name": {name}}}
}

var errMode = errors.New("mode")

// fitMode changes the mode of one lane for consumer a. Mode all is of all lanes at once; otherwise no other lane's changes,
// but for those that leave mode all with it.
func fitMode(content []byte, tag graylib.Tag, mode graylib.Mode) ([]byte, error) {
	doc, err := rules.Parse(content)
	if err != nil {
		return nil, err
	}
	entry, found := doc.Consumer(Consumer, "", "")
	if !found {
		entry = rules.Consumer{Consumer: Consumer, Baseline: graylib.ModeAuto}
	}
	lanes := slices.DeleteFunc(slices.Clone(entry.Ignore), func(t graylib.Tag) bool { return t == tag })
	switch mode {
	case graylib.ModeIgnore:
		entry.Baseline, entry.Ignore = graylib.ModeIgnore, append(lanes, tag)
		slices.Sort(entry.Ignore)
	case graylib.ModeAll:
		entry.Baseline, entry.Ignore = graylib.ModeAll, nil
	case graylib.ModeAuto:
		if entry.Baseline, entry.Ignore = graylib.ModeAuto, nil; len(lanes) > 0 {
			entry.Baseline, entry.Ignore = graylib.ModeIgnore, lanes
		}
	default:
		return nil, fmt.Errorf("%w %q: want %s, %s or %s", errMode, mode, graylib.ModeAuto, graylib.ModeIgnore, graylib.ModeAll)
	}
	return rules.SetConsumer(content, entry)
}
