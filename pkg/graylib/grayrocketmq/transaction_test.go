package grayrocketmq

import (
	"testing"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/graylibtest"
)

// asked is a listener whose checks come to a state.
type asked struct {
	listener
	state primitive.LocalTransactionState
}

func (a asked) CheckLocalTransaction(*primitive.MessageExt) primitive.LocalTransactionState {
	return a.state
}

// TestCheckIsReported: a transaction that a check commits is reported as produced, by one event however often it is asked for;
// one that isn't committed is not.
func TestCheckIsReported(t *testing.T) {
	r := &graylibtest.Reporter{}
	rt, err := graylib.New(graylib.Identity{Service: "c", Tag: "gray", Instance: "c-1"}, graylib.WithReporter(r))
	if err != nil {
		t.Fatal(err)
	}
	half := &primitive.MessageExt{Message: primitive.Message{Topic: "T"}}
	half.WithProperties(map[string]string{
		primitive.PropertyUniqueClientMessageIdKeyIndex: "ID1", "gray_tag": "gray", "gray_request_id": "r1",
		"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	})
	for _, state := range []primitive.LocalTransactionState{primitive.UnknowState, primitive.RollbackMessageState} {
		if got := (checkedListener{asked{state: state}, rt}).CheckLocalTransaction(half); got != state || len(r.Events()) != 0 {
			t.Errorf("state %v became %v, reported %v", state, got, r.Events())
		}
	}
	l := checkedListener{asked{state: primitive.CommitMessageState}, rt}
	for range 2 {
		if got := l.CheckLocalTransaction(half); got != primitive.CommitMessageState {
			t.Errorf("state %v, want the listener's", got)
		}
	}
	want := graylib.Event{
		V: 1, Kind: graylib.EventProduced, EventID: "committed-ID1", Service: "c", Instance: "c-1", Tag: "gray", ID: "ID1", Topic: "T", MessageTag: "gray",
		RequestID: "r1", Trace: "0af7651916cd43dd8448eb211c80319c",
	}
	events := r.Events()
	for i, got := range events {
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(graylib.Event{}, "Time")); diff != "" {
			t.Errorf("event %d (-want +got):\n%s", i, diff)
		}
	}
	if len(events) != 2 {
		t.Errorf("%d events, want one for each check", len(events))
	}
}
