package graynacos

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// What a push brings is in force at once, whatever reads still say; and reads have the last word.
func TestPushedDocuments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeConfig{content: doc(1, "gray"), lag: 600 * time.Millisecond}
		s, _ := newFakeRules(f, disk{})
		defer s.Close()
		<-s.first
		time.Sleep(45 * time.Second)
		synctest.Wait()

		readAt := s.Status().ReadAt
		f.set(doc(2, "gray"), true)
		wantStatus(t, s, 2, originNacos)
		if got := s.Status().ReadAt; !got.Equal(readAt) { // pushes are delayed, and strays rely on it
			t.Errorf("a push says that the rules were the newest at %v, want %v, when they were read", got, readAt)
		}
		pushed := time.Now()
		for range 30 { // the reads that lag refuse nothing
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			wantStatus(t, s, 2, originNacos)
		}

		if got := s.Status().ReadAt; got.Before(pushed) {
			t.Errorf("read at %v, before the push at %v", got, pushed)
		}

		// A push that was overtaken, is empty or no good is left to the reads: they say what is published.
		for _, content := range []string{doc(1, "gray"), "", "lanes: x\n", doc(3)} {
			s.offer(content, time.Now())
			wantStatus(t, s, 2, originNacos)
		}

		// What really goes back is refused, a little later.
		f.set(doc(1, "gray"), true)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if st := s.Status(); st.Revision != 2 || !strings.Contains(st.Refusal, "not higher than the last good document's 2") {
			t.Errorf("status %+v, want revision 2 and a refusal", st)
		}

		// Right after a push that was taken over, too.
		f.set(doc(3, "gray"), true)
		f.set(doc(1, "gray"), true)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if st := s.Status(); st.Revision != 3 || !strings.Contains(st.Refusal, "not higher than the last good document's 3") {
			t.Errorf("status %+v, want revision 3 and a refusal", st)
		}
	})
}
