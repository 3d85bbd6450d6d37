package proc

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "lock")
	first, err := TryLock(path, "first, pid 1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path, "second"); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "first, pid 1") {
		t.Errorf("TryLock = %v, want ErrLocked with the holder's note", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, path, "second", nil); !errors.Is(err, ErrLocked) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Lock = %v, want ErrLocked and the context's error", err)
	}
	refused := make(chan error, 1)
	got := make(chan error, 1)
	go func() {
		l, err := Lock(t.Context(), path, "third", func(err error) { refused <- err })
		if err == nil {
			err = l.Unlock()
		}
		got <- err
	}()
	if err := <-refused; !errors.Is(err, ErrLocked) {
		t.Errorf("waiting got %v", err)
	}
	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-got:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the lock was not handed on")
	}
}
