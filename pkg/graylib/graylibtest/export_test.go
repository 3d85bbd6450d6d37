package graylibtest

import "testing"

// Problems runs the whole suite and returns what it found instead of failing the test: by "<stage>/<check>".
func Problems(t testing.TB, h Harness) map[string][]string {
	t.Helper()
	if err := h.validate(); err != nil {
		return map[string][]string{"declaration": {err.Error()}}
	}
	found := make(map[string][]string)
	for _, st := range stages() {
		if st.applies != nil && !st.applies(h.Features) {
			continue
		}
		s := openScene(t, h, st)
		for _, c := range st.checks {
			if c.applies != nil && !c.applies(h.Features) {
				continue
			}
			if problems := s.judge(c); len(problems) > 0 {
				found[st.name+"/"+c.name] = problems
			}
		}
	}
	return found
}
