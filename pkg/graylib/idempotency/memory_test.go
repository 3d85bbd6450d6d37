package idempotency_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib/idempotency"
	"github.com/graychain/graychain/pkg/graylib/idempotency/idempotencytest"
)

func memory(t *testing.T) idempotency.Store {
	t.Helper()
	m, err := idempotency.NewMemory(0)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMemory(t *testing.T) { idempotencytest.Run(t, memory) }

func TestMemoryKeepsTheLatest(t *testing.T) {
	if _, err := idempotency.NewMemory(-1); !errors.Is(err, idempotency.ErrInvalidOption) {
		t.Errorf("-1 marks: %v", err)
	}
	m, err := idempotency.NewMemory(10)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	for i := range 1000 {
		if err := m.Done(ctx, fmt.Sprint(i), time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Claim(ctx, fmt.Sprint("claim", i), "a", time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		want := idempotency.Claimed
		if i >= 990 {
			want = idempotency.Done
		}
		if got, err := m.Claim(ctx, fmt.Sprint(i), "a", time.Minute); err != nil || got != want {
			t.Errorf("key %d: %v, %v; want %v", i, got, err, want)
		}
	}
}
