package lanestate

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/graychain/graychain/pkg/graylib"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting"
	"github.com/graychain/graychain/pkg/graylib/grayrocketmq/remoting/remotingtest"
)

// oldBroker is a name server and a broker that hold messages as a test says, each topic in one queue. It searches by time as
// 4.9 does.
type oldBroker struct {
	*testing.T
	filters bool // by property
	seen    func(code int, topic string)

	mu        sync.Mutex
	topics    map[string][]stored
	committed map[string]int64 // of every group
	worked    int              // messages that have left the schedule
}

type stored struct {
	at    time.Time
	tag   string
	topic string // in the schedule: the one that it is for
}

func (b *oldBroker) reader() (*Reader, map[string]string) {
	s := remotingtest.Start(b)
	for _, code := range []int{11, 14, 26, 28, 29, 30, 38, 105, 343} {
		s.Handle(code, func(r remotingtest.Request) remotingtest.Response {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.seen != nil {
				b.seen(code, r.Ext["topic"])
			}
			return b.answer(r, s.Addr)
		})
	}
	reader, err := Open(remoting.Config{NameServers: []string{s.Addr}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = reader.Close() })
	return reader, map[string]string{"b": s.Addr}
}

func (b *oldBroker) answer(r remotingtest.Request, addr string) remotingtest.Response {
	topic := r.Ext["topic"]
	list := b.topics[topic]
	if r.Ext["queueId"] != "" && r.Ext["queueId"] != "0" {
		list = nil // of the schedule: the other levels
	}
	offset := func(n int) remotingtest.Response {
		return remotingtest.Response{Ext: map[string]string{"offset": strconv.Itoa(n)}}
	}
	switch r.Code {
	case 11:
		return b.pull(r, list)
	case 14:
		if n, ok := b.committed[topic]; ok && strings.HasPrefix(r.Ext["consumerGroup"], "G_") {
			return offset(int(n))
		}
		return remotingtest.Response{Code: 22, Remark: "no offset"}
	case 26:
		return remotingtest.Response{Body: []byte("messageDelayLevel=10s 30s\n")}
	case 28:
		body, _ := json.Marshal(map[string]any{"table": map[string]string{scheduled + "1": strconv.Itoa(b.worked) + ",0", scheduled + "2": "0,0"}})
		return remotingtest.Response{Body: body}
	case 29: // ConsumeQueue.getOffsetInQueueByTime: the last one's own offset where all are older
		t, _ := strconv.ParseInt(r.Ext["timestamp"], 10, 64)
		at := slices.IndexFunc(list, func(m stored) bool { return m.at.UnixMilli() >= t })
		if at < 0 {
			at = max(len(list)-1, 0)
		}
		return offset(at)
	case 30:
		return offset(len(list))
	case 38:
		return remotingtest.Response{Code: 1, Remark: "no consumer for this group"}
	case 343:
		names := slices.DeleteFunc(slices.Sorted(maps.Keys(b.topics)), func(name string) bool { return name == scheduleTopic })
		body, _ := json.Marshal(map[string]any{"topicList": names})
		return remotingtest.Response{Body: body}
	default: // the route
		if _, ok := b.topics[topic]; !ok {
			return remotingtest.Response{Code: 17, Remark: "no such topic"}
		}
		return remotingtest.Response{Body: []byte(`{"brokerDatas":[{"brokerName":"b","brokerAddrs":{0:"` + addr + `"}}],"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":1}]}`)}
	}
}

func (b *oldBroker) pull(r remotingtest.Request, list []stored) remotingtest.Response {
	want, filtered := strings.CutPrefix(r.Ext["subscription"], graylib.MessageKeys.Tag+" = ")
	if filtered && !b.filters {
		return remotingtest.Response{Code: 1, Remark: "the broker does not support consumer to filter message by SQL92"}
	}
	from, _ := strconv.Atoi(r.Ext["queueOffset"])
	var body bytes.Buffer
	for i := from; i < len(list); i++ {
		if !filtered || list[i].tag == strings.Trim(want, "'") {
			list[i].write(&body, int64(i))
		}
	}
	answer := remotingtest.Response{Body: body.Bytes(), Ext: map[string]string{"nextBeginOffset": strconv.Itoa(max(from, len(list)))}}
	if body.Len() == 0 {
		answer.Code = 19
	}
	return answer
}

// write writes a message as brokers store it (org.apache.rocketmq.common.message.MessageDecoder).
func (m stored) write(w *bytes.Buffer, offset int64) {
	properties := graylib.MessageKeys.Tag + "\x01" + m.tag + "\x02REAL_TOPIC\x01" + m.topic + "\x02"
	var rest bytes.Buffer
	host := [8]byte{127, 0, 0, 1}
	for _, v := range []any{
		uint32(0xDAA320A7), int32(0), int32(0), int32(0), offset, offset * 1000, int32(0), m.at.UnixMilli(), host, m.at.UnixMilli(), host,
		int32(0), int64(0), int32(0), uint8(1), []byte("T"), int16(len(properties)), []byte(properties),
	} {
		_ = binary.Write(&rest, binary.BigEndian, v)
	}
	_ = binary.Write(w, binary.BigEndian, int32(rest.Len()+4))
	_, _ = rest.WriteTo(w)
}

func (b *oldBroker) left(reader *Reader, brokers map[string]string, until time.Time) []string {
	b.Helper()
	list, err := reader.LeftBefore(b.Context(), brokers, []string{"G"}, "gray", until)
	if err != nil {
		b.Fatal(err)
	}
	lines := []string{}
	for _, l := range list {
		lines = append(lines, l.String())
	}
	return lines
}

// TestLeftBeforeOnOldBrokers: the offset that 4.9 finds by time lies before messages that are older than that.
func TestLeftBeforeOnOldBrokers(t *testing.T) {
	until := time.UnixMilli(1_700_000_000_000)
	gray := func(after time.Duration) stored { return stored{at: until.Add(after), tag: "gray"} }
	for _, tc := range []struct {
		name      string
		filters   bool
		list      []stored
		committed int64
		want      string
	}{
		{"the last message", true, []stored{gray(-2), gray(-time.Second)}, 1, "1"},
		{"none", true, []stored{gray(-2), gray(-time.Second)}, 2, ""},
		{"of another tag", true, []stored{{at: until.Add(-time.Second), tag: "blue"}}, 0, ""},
		{"at until", true, []stored{gray(-time.Millisecond), gray(0), gray(1)}, 0, "1"},
		{"later alone", true, []stored{gray(-time.Millisecond), gray(0), gray(1)}, 1, ""},
		{"no filter, the last message", false, []stored{gray(-2), gray(-time.Second)}, 1, "<=1"},
		{"no filter, later alone", false, []stored{gray(-time.Second), gray(0), gray(1)}, 1, ""},
		{"no filter, between", false, []stored{gray(-2 * time.Second), gray(-time.Second), gray(0), gray(1)}, 0, "<=3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &oldBroker{T: t, filters: tc.filters, topics: map[string][]stored{"T": tc.list}, committed: map[string]int64{"T": tc.committed}}
			reader, brokers := b.reader()
			want := []string{}
			if tc.want != "" {
				want = []string{"G_gray: " + tc.want + " on T stored before until", "G__tagged: " + tc.want + " on T stored before until"}
			}
			if diff := cmp.Diff(want, b.left(reader, brokers, until)); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRetryThatMoves moves a lane's only message while the brokers are read, at each request in turn: from the topic to the
// schedule, from there to the retry topic, and back into the schedule. It is always seen.
func TestRetryThatMoves(t *testing.T) {
	const retry = RetryPrefix + "G_gray"
	at := time.Now()
	start := func(moved int, b *oldBroker) {
		b.topics = map[string][]stored{"T": {{at: at, tag: "gray"}}, retry: nil, scheduleTopic: nil}
		b.committed = map[string]int64{"T": 1, retry: 0}
		switch moved {
		case 0:
			b.committed["T"] = 0
		case 1:
			b.topics[scheduleTopic] = []stored{{at: at, tag: "gray", topic: retry}}
		case 2:
			b.topics[retry] = []stored{{at: at, tag: "gray"}}
		}
	}
	move := func(moved int, b *oldBroker) {
		switch moved {
		case 0: // it fails: sent back, then committed
			b.topics[scheduleTopic] = append(b.topics[scheduleTopic], stored{at: at, tag: "gray", topic: retry})
			b.committed["T"] = 1
		case 1: // its delay is over
			b.topics[retry] = append(b.topics[retry], stored{at: at, tag: "gray"})
			b.worked++
		case 2: // it fails again
			b.topics[scheduleTopic] = append(b.topics[scheduleTopic], stored{at: at, tag: "gray", topic: retry})
			b.committed[retry]++
		}
	}
	for from, what := range []string{"topic to schedule", "schedule to retry topic", "retry topic to schedule"} {
		t.Run(what, func(t *testing.T) {
			for _, how := range []string{"LeftBefore", "Read"} {
				for at, requests := 0, 1; at < requests; at++ {
					n := 0
					b := &oldBroker{T: t, filters: true}
					start(from, b)
					b.seen = func(int, string) {
						if n == at {
							move(from, b)
						}
						n++
					}
					reader, brokers := b.reader()
					var seen int
					if how == "LeftBefore" {
						seen = len(b.left(reader, brokers, time.Now().Add(time.Minute)))
					} else {
						groups, err := reader.Read(t.Context(), brokers, Of{Base: "G", Kind: graylib.GroupLane, Lane: "gray"})
						if err != nil || groups[0].Err() != nil {
							t.Fatal(err, groups[0].Problems)
						}
						seen = int(groups[0].Waiting.N + groups[0].Retries.N)
					}
					if seen == 0 {
						t.Fatalf("%s: moved at request %d of %d, it was seen nowhere", how, at, n)
					}
					requests = n
				}
			}
		})
	}
}
