// Package grayants hands contexts into the pools of github.com/panjf2000/ants/v2, so that a task has the tag of whoever
// submitted it.
//
//	pool, err := ants.NewPool(100)           // as before
//	tasks := grayants.Wrap(pool)
//	err = tasks.Submit(ctx, func(ctx context.Context) { client.Notify(ctx, user) })
//
// Every type has the method set of its original; the methods that take a task take a context first and hand exactly
// that one to the task. The tag lives in that context and nowhere else: a worker that is used again shows nothing of the tasks
// it ran before, and a task submitted without a tag is untagged. Panics are the pool's: its PanicHandler, or its log.
//
// The context is handed over as it is, with its cancellation. A task that may outlive the request takes one of
// graylib.Detach.
package grayants
