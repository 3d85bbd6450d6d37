package graynacos

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/graychain/graychain/pkg/graylib"
)

// doc is a good document: lane gray, listed at a time, with one entry.
func doc(revision int, lanes ...string) string {
	b := fmt.Sprintf("revision: %d\n", revision)
	if len(lanes) > 0 {
		b += "lanes:\n"
	}
	for _, tag := range lanes {
		b += fmt.Sprintf("  - tag: %s\n    listed: 2026-11-22T10:00:00Z\n    entries:\n"+
			"      - {name: %s-xiaoming, service: a, when: [{from: query, key: name, op: \"==\", value: xiaoming}]}\n", tag, tag)
	}
	return b
}

func wantStatus(t *testing.T, s *Rules, revision int64, origin string) {
	t.Helper()
	st := s.Status()
	if st.Revision != revision || st.Origin != origin || st.Refusal != "" {
		t.Errorf("status %+v, want revision %d from %s and no refusal", st, revision, origin)
	}
	if got := s.Rules().Revision(); got != revision {
		t.Errorf("rules of revision %d in force, want %d", got, revision)
	}
}

func TestRulesAreReadAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeConfig{content: doc(3, "gray")}
		began := time.Now()
		s, _ := newFakeRules(f, disk{})
		<-s.first
		wantStatus(t, s, 3, originNacos)
		if got := s.Status().ReadAt; !got.Equal(began) {
			t.Errorf("read at %v, want %v", got, began)
		}
		if _, ok := s.Rules().Lane("gray"); !ok {
			t.Error("lane gray is not listed")
		}
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if got, want := s.Status().ReadAt, began.Add(20*time.Second); !got.Equal(want) {
			t.Errorf("after 25 s the document was last seen at %v, want %v", got, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if !f.closed {
			t.Error("the client was not closed")
		}
	})
}

func TestRulesDelivery(t *testing.T) {
	for _, tt := range []struct {
		name   string
		push   bool
		lag    time.Duration
		within time.Duration
	}{
		{"push", true, 0, 0},
		{"push, and reads lag", true, 100 * time.Millisecond, 250 * time.Millisecond},
		{"push, and reads lag much", true, 600 * time.Millisecond, time.Second},
		{"lost push", false, 0, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeConfig{content: doc(1, "gray"), lag: tt.lag}
				s, _ := newFakeRules(f, disk{})
				defer s.Close()
				<-s.first
				time.Sleep(45*time.Second + 300*time.Millisecond) // between two slow polls
				var took time.Duration
				changed := make(chan struct{})
				began := time.Now()
				defer s.Watch(func(graylib.Rules) { took = time.Since(began); close(changed) })()
				f.set(doc(2, "gray"), tt.push)
				<-changed
				if took > tt.within {
					t.Errorf("broke G7 dynamic: in effect after %v, want %v", took, tt.within)
				}
				wantStatus(t, s, 2, originNacos)
			})
		})
	}
}

func TestRulesRefusals(t *testing.T) {
	const listed = "    listed: 2026-11-22T10:00:00Z\n"
	for _, tt := range []struct {
		name    string
		content string
		want    []string
	}{
		{"deleted", "", []string{"empty or was deleted"}},
		{"empty", " \n\t\n", []string{"empty or was deleted"}},
		{"not YAML", "revision: [6", []string{"line 1"}},
		{"unknown field", doc(6, "gray") + "lane: gray\n", []string{"lane"}},
		{"lower revision", doc(4, "gray"), []string{"revision", "4", "5"}},
		{"same revision, other content", doc(5, "gray", "blue"), []string{"revision", "5"}},
		{"no revision", strings.Replace(doc(6, "gray"), "revision: 6\n", "", 1), []string{"revision", "rules apply"}},
		{"lane without listed", strings.Replace(doc(6, "gray"), listed, "", 1), []string{"listed", "rules apply"}},
		{"changed listed", strings.Replace(doc(6, "gray"), "10:00", "11:00", 1), []string{"listed", "gray"}},
		{"dropped lane", doc(6), []string{"gray"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := disk{filepath.Join(t.TempDir(), "graychain.yaml")}
				good := doc(5, "gray")
				f := &fakeConfig{content: good}
				s, log := newFakeRules(f, d)
				defer s.Close()
				<-s.first
				readAt := s.Status().ReadAt
				defer s.Watch(func(r graylib.Rules) { t.Errorf("revision %d came into force", r.Revision()) })()

				time.Sleep(15 * time.Second)
				f.set(tt.content, true)
				time.Sleep(15 * time.Second)
				synctest.Wait()
				st := s.Status()
				if st.Revision != 5 || st.Origin != originNacos || s.Rules().Revision() != 5 {
					t.Errorf("broke G8 fail-static: status %+v, want revision 5 in force", st)
				}
				if !strings.Contains(st.Refusal, "revision 5 stays in force") || strings.Contains(st.Refusal, "\n") {
					t.Errorf("refusal %q: want one line that says that revision 5 stays", st.Refusal)
				}
				for _, w := range tt.want {
					if !strings.Contains(st.Refusal, w) {
						t.Errorf("refusal %q doesn't mention %q", st.Refusal, w)
					}
				}
				if n := strings.Count(log.String(), "refused the rules document"); n != 1 || st.Refusals != 1 {
					t.Errorf("the refusal was logged %d times and counted %d, want once:\n%s", n, st.Refusals, log)
				}
				if st.ReadAt.Sub(readAt) > 15*time.Second {
					t.Errorf("read at %v, %v after the start: the refused document counts as read", st.ReadAt, st.ReadAt.Sub(readAt))
				}
				if content, err := d.load(); err != nil || string(content) != good {
					t.Errorf("on disk: %q, %v; want the last good document", content, err)
				}
				f.set(good, true)
				time.Sleep(time.Second)
				synctest.Wait()
				wantStatus(t, s, 5, originNacos)
			})
		})
	}
}

func TestRulesRefuseTheFirstDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeConfig{content: "lanes: 7"}
		s, _ := newFakeRules(f, disk{})
		defer s.Close()
		<-s.first
		if st := s.Status(); st.Origin != originNone || st.Refusal == "" || s.Rules() != graylib.NoRules {
			t.Errorf("status %+v, want no rules and a refusal", st)
		}
		f.set("", true)
		time.Sleep(time.Second)
		synctest.Wait()
		wantStatus(t, s, 0, originNone)
	})
}

// TestStatusDoesNotWaitForTheDisk: while the disk takes its time, the document that came is in force, and the status says so.
func TestStatusDoesNotWaitForTheDisk(t *testing.T) {
	d := disk{filepath.Join(t.TempDir(), "graychain.yaml")}
	s := &Rules{disk: d, watchers: make(map[*func(graylib.Rules)]struct{}), log: slog.New(slog.DiscardHandler)}
	s.keeping.Lock() // as while it is written to
	offered := make(chan struct{})
	go func() {
		defer close(offered)
		s.offer(doc(8, "gray"), time.Now())
	}()
	for deadline := time.Now().Add(30 * time.Second); s.Status().Revision != 8; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the document isn't in force while the disk is written to")
		}
	}
	s.keeping.Unlock()
	<-offered
	if content, err := d.load(); err != nil || string(content) != doc(8, "gray") {
		t.Errorf("on disk: %q, %v", content, err)
	}
}

func TestRulesFromDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := disk{filepath.Join(t.TempDir(), "state", "graychain.yaml")}
		f := &fakeConfig{content: doc(7, "gray")}
		s, _ := newFakeRules(f, d)
		<-s.first
		s.Close()

		f = &fakeConfig{away: true, content: doc(7, "gray")}
		s, log := newFakeRules(f, d)
		<-s.first
		wantStatus(t, s, 7, originDisk)
		if !s.Status().ReadAt.IsZero() {
			t.Error("a document from the disk shows a time at which Nacos answered")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := strings.Count(log.String(), "can't read the rules"); n != 1 {
			t.Errorf("that Nacos is away was logged %d times, want once:\n%s", n, log)
		}
		f.setAway(false)
		back := time.Now()
		time.Sleep(time.Second)
		synctest.Wait()
		wantStatus(t, s, 7, originNacos)
		if got := s.Status().ReadAt; got.Before(back) {
			t.Errorf("read at %v, before Nacos was back at %v", got, back)
		}
		f.set(doc(6, "gray"), true) // the revision on disk counts
		time.Sleep(time.Second)
		synctest.Wait()
		if st := s.Status(); st.Revision != 7 || !strings.Contains(st.Refusal, "revision") {
			t.Errorf("status %+v, want revision 7 and a refusal of revision 6", st)
		}
		s.Close()
	})
}

func TestRulesWithNothingKnown(t *testing.T) {
	for name, content := range map[string]string{"no file": "", "a broken file": "revision: [", "a lane without listed": "revision: 3\nlanes: [{tag: gray}]\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := disk{filepath.Join(t.TempDir(), "graychain.yaml")}
				if content != "" {
					if err := os.WriteFile(d.path, []byte(content), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				s, log := newFakeRules(&fakeConfig{away: true}, d)
				defer s.Close()
				<-s.first
				wantStatus(t, s, 0, originNone)
				if s.Rules() != graylib.NoRules {
					t.Error("rules that nobody wrote")
				}
				if told := strings.Contains(log.String(), "on disk is no good"); told != (content != "") {
					t.Errorf("log:\n%s", log)
				}
			})
		})
	}
}

func TestRulesStayWhileNacosIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeConfig{content: doc(1, "gray")}
		s, _ := newFakeRules(f, disk{})
		defer s.Close()
		<-s.first
		f.setAway(true)
		time.Sleep(time.Hour)
		synctest.Wait()
		wantStatus(t, s, 1, originNacos)
		f.set(doc(2, "gray"), false)
		f.setAway(false)
		time.Sleep(time.Second)
		synctest.Wait()
		wantStatus(t, s, 2, originNacos)
	})
}

func TestRulesWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeConfig{content: doc(1)}
		s, _ := newFakeRules(f, disk{})
		defer s.Close()
		<-s.first
		var mu sync.Mutex
		var seen []int64
		cancel := s.Watch(func(r graylib.Rules) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, r.Revision())
		})
		for i := 2; i <= 5; i++ {
			f.set(doc(i), true)
			time.Sleep(time.Second)
		}
		cancel()
		f.set(doc(6), true)
		time.Sleep(time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if diff := cmp.Diff([]int64{2, 3, 4, 5}, seen); diff != "" {
			t.Errorf("revisions told (-want +got):\n%s", diff)
		}
	})
}

func TestRulesStormOfPushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeConfig{content: doc(1)}
		s, _ := newFakeRules(f, disk{})
		defer s.Close()
		<-s.first
		for i := range 1000 {
			f.set(doc(i+2), true)
			time.Sleep(10 * time.Millisecond)
		}
		if n := f.readCount(); n < 35 || n > 42 {
			t.Errorf("%d reads in 10 s of pushes, want about 4 a second", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		wantStatus(t, s, 1001, originNacos)
	})
}
