package grayrocketmq

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// forgetWorld is a lane that is being forgotten from now on, with a baseline that stands in: the messages of before, which
// were handled, and those of after. Nobody's clock but the broker's counts.
type forgetWorld struct {
	*world
	base          *sink
	before, after []string
	last          time.Time // the greatest store time
}

// forgetting leaves the world with `until` in force, and all messages of after waiting.
func forgetting(t *testing.T) *forgetWorld {
	rules := listed(graylib.ModeAuto, "gray")
	f := &forgetWorld{world: newWorld(t, rules), base: newSink()}
	f.source.readAt(time.Now()) // no stray is old enough
	reporter := &graylibtest.Reporter{}
	start(t, f.open("", f.base, reporter, nil))
	p := f.producer("")
	f.before = f.send(p, "gray", 20)
	eventually(t, "the stand-in handles what came before until", func() bool { return f.base.all(f.before) })
	until := f.storedAfter()
	f.put(func(l *graylib.Lane) { l.State, l.Until = graylib.LaneRetired, until })
	f.after = f.send(p, "gray", 20)
	f.last = f.storedAfter()
	// By the time that messages sent later have been handled, these have been looked at.
	plain := f.send(p, "", 20)
	eventually(t, "untagged messages pass", func() bool { return f.base.all(plain) })
	f.base.exactly(t, "stored after until, listed still", f.after, 0)
	f.base.exactly(t, "stored before until", f.before, 1)
	return f
}

// storedAfter is a time behind the store time of all messages so far.
func (f *forgetWorld) storedAfter() time.Time {
	now := time.Now() // the broker stands on this machine
	eventually(f.t, "the next millisecond", func() bool { return time.Since(now) > 5*time.Millisecond })
	return time.Now().Truncate(time.Millisecond) // as store times are
}

// put publishes the document with the lane changed, or without lanes.
func (f *forgetWorld) put(change func(l *graylib.Lane)) {
	next := listed(graylib.ModeAuto)
	if change != nil {
		l := graylib.Lane{Tag: "gray", Listed: time.Now().Add(-time.Hour), State: graylib.LaneActive, Propagate: true}
		if old, ok := f.source.Rules().Lane("gray"); ok {
			l = old
		}
		change(&l)
		next.List = []graylib.Lane{l}
	}
	f.source.put(next)
}

// TestForgetAndListInTime lists a lane again while it is being forgotten: all is the lane's as if nothing had been.
func TestForgetAndListInTime(t *testing.T) {
	f := forgetting(t)
	f.put(func(l *graylib.Lane) { l.State, l.Until = graylib.LaneActive, time.Time{} })
	eventually(t, "what waited is handled", func() bool { return f.base.all(f.after) })
	f.source.readAt(time.Now().Add(time.Hour)) // nor is it a stray's time later
	gray := newSink()
	f.laneOwns(f.consumer("gray", gray))
	more := f.send(f.producer(""), "gray", 20)
	eventually(t, "the lane consumes", func() bool { return gray.all(more) })
	f.base.exactly(t, "before until", f.before, 1)
	f.base.exactly(t, "after until", f.after, 1)
	gray.exactly(t, "the lane, messages of before", append(f.before, f.after...), 0)
}

// TestForgetAndListAnew forgets a lane to the end, and lists its tag anew.
func TestForgetAndListAnew(t *testing.T) {
	f := forgetting(t)
	f.source.readAt(time.Now().Add(strayWait + time.Second)) // nobody can list it again any more
	eventually(t, "what was stored later is the baseline's", func() bool { return f.base.all(f.after) })
	f.put(nil)
	strays := f.send(f.producer(""), "gray", 10)
	f.source.readAt(time.Now().Add(strayWait + time.Second)) // later than these, too
	eventually(t, "unlisted, it is the baseline's", func() bool { return f.base.all(strays) })
	boundary := f.storedAfter()
	f.put(func(l *graylib.Lane) { l.Listed = boundary.Add(boundaryMargin) })
	gray := newSink()
	c := f.consumer("gray", gray)
	if diff := cmp.Diff([]string{f.group + "_gray"}, c.Groups()); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
	f.laneOwns(c)
	ids := f.send(f.producer(""), "gray", 20)
	eventually(t, "the new lane consumes", func() bool { return gray.all(ids) })
	for what, list := range map[string][]string{"before until": f.before, "after until": f.after, "unlisted": strays} {
		f.base.exactly(t, what, list, 1)
		gray.exactly(t, "the new lane, "+what, list, 0)
	}
	f.base.exactly(t, "the baseline, the new lane's", ids, 0)
	gray.exactly(t, "the new lane", ids, 1)
}
