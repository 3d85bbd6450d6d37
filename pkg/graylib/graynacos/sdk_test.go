package graynacos

import (
	"context"
	"testing"
	"time"

	"github.com/nacos-group/nacos-sdk-go/v2/common/remote/rpc"
)

// TestUnderLock fails when another version of the stock client no longer logs under its lock.
func TestUnderLock(t *testing.T) {
	asked := make(chan struct{})
	ran := 0
	underLock(func() {
		ran++
		go func() {
			_, _ = rpc.CreateClient(context.Background(), "another", rpc.ConnectionType(1<<16), nil, nil, nil, nil)
			close(asked)
		}()
		select {
		case <-asked:
			t.Error("the client's map was looked into while its lock should be held")
		case <-time.After(100 * time.Millisecond): // the span in which it must not happen
		}
	})
	if ran != 1 {
		t.Errorf("called %d times, want once", ran)
	}
	select {
	case <-asked:
	case <-time.After(30 * time.Second):
		t.Error("the lock is still held")
	}
}
