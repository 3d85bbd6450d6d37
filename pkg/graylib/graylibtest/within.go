package graylibtest

import (
	"context"
	"testing"
)

// InProcess is the Open of a harness for what hands work over within a process: a go statement, a pool, a group. start runs
// the task, now or later, and fails the test where it can't. answers tells whether it returns only when the task has
// ended ([Features.Answers]).
func InProcess(answers bool, start func(t testing.TB, ctx context.Context, task func(context.Context))) func(testing.TB, *Setup) Link {
	return func(t testing.TB, s *Setup) Link {
		return Link{Call: func(ctx context.Context, payload string) (answer string, err error) {
			start(t, ctx, func(ctx context.Context) {
				a, e := s.Callees[0].Handle(ctx, payload)
				if answers {
					answer, err = a, e
				}
			})
			return answer, err
		}}
	}
}
