package idempotency_test

import (
	"context"
	"fmt"

	"github.com/graychain/graychain/pkg/graylib/idempotency"
)

func Example() {
	store, err := idempotency.NewMemory(0)
	if err != nil {
		fmt.Println(err)
		return
	}
	guard, err := idempotency.New(store)
	if err != nil {
		fmt.Println(err)
		return
	}
	charge := func(ctx context.Context, order string, works bool) {
		claim, err := guard.Begin(ctx, "charge/"+order)
		switch {
		case err != nil:
			fmt.Println(order, "later:", err)
		case claim.Duplicate():
			fmt.Println(order, "was charged before")
		default:
			fmt.Println(order, "is charged:", works)
			claim.End(works)
		}
	}
	ctx := context.Background()
	charge(ctx, "A1", false)
	charge(ctx, "A1", true)
	charge(ctx, "A1", true)
	// Output:
	// A1 is charged: false
	// A1 is charged: true
	// A1 was charged before
}
