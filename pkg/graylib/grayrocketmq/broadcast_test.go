package grayrocketmq

import (
	"testing"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// TestHeardLanes: without a registry the brokers' answers say since when a lane is live; what was stored before that is not its.
func TestHeardLanes(t *testing.T) {
	began := time.Now().Add(-time.Hour)
	s := &lanesSeen{began: began, heard: make(map[graylib.Tag]heardLane)}
	if s.hear("gray", true, began.Add(time.Minute)) {
		t.Error("a lane that was live at the first answer came after a message of later than the watch")
	}
	if !s.hear("gray", true, began.Add(-time.Minute)) || !s.hear("gray", true, began.Add(heardMargin/2)) {
		t.Error("a message of before the watch, by a clock that may be ahead, is the lane's alone")
	}
	s.hear("gray", false, began)
	came := time.Now()
	if !s.hear("gray", true, came.Add(-time.Minute)) || !s.hear("gray", true, came.Add(heardMargin/2)) {
		t.Error("a message of before the lane came back is the lane's alone")
	}
	if s.hear("gray", true, time.Now().Add(heardMargin+time.Minute)) {
		t.Error("a message of later than the lane's coming is not its")
	}
}
