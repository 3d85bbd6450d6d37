package remoting

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// stored is a message as brokers send it.
type stored struct {
	sysFlag               int32
	numbers               [6]int64 // crc, flag, queue offset, commit log offset, born, stored
	queue, again          int32
	born, host, body      []byte
	topic, properties     string
	bornPort, hostPort    int32
	preparedTransactionAt int64
}

func (s stored) encode() []byte { return s.encodeAs(-626843481) }

// encodeAs encodes with another magic code: from the form V2 on, the topic's length takes two bytes.
func (s stored) encodeAs(magic int64) []byte {
	b := make([]byte, 4, 256) // the size comes last
	u32 := func(v int32) { b = binary.BigEndian.AppendUint32(b, uint32(v)) }
	u64 := func(v int64) { b = binary.BigEndian.AppendUint64(b, uint64(v)) }
	u32(int32(magic))
	u32(int32(s.numbers[0]))
	u32(s.queue)
	u32(int32(s.numbers[1]))
	u64(s.numbers[2])
	u64(s.numbers[3])
	u32(s.sysFlag)
	u64(s.numbers[4])
	b = append(b, s.born...)
	u32(s.bornPort)
	u64(s.numbers[5])
	b = append(b, s.host...)
	u32(s.hostPort)
	u32(s.again)
	u64(s.preparedTransactionAt)
	u32(int32(len(s.body)))
	b = append(b, s.body...)
	if magic != -626843481 {
		b = append(b, byte(len(s.topic)>>8))
	}
	b = append(b, byte(len(s.topic)))
	b = append(b, s.topic...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.properties)))
	b = append(b, s.properties...)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

func drawStored(t *rapid.T) stored {
	s := stored{
		queue: rapid.Int32().Draw(t, "queue"), again: rapid.Int32().Draw(t, "again"),
		bornPort: rapid.Int32().Draw(t, "born port"), hostPort: rapid.Int32().Draw(t, "host port"),
		preparedTransactionAt: rapid.Int64().Draw(t, "prepared"),
		body:                  rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "body"),
		topic:                 rapid.StringN(0, 20, 40).Draw(t, "topic"),
		sysFlag:               rapid.SampledFrom([]int32{0, 0, 2, 4, 8, 12, 16, 32, 48}).Draw(t, "flags"), // not compressed: such a body has a form
	}
	for i := range s.numbers {
		s.numbers[i] = rapid.Int64().Draw(t, "number")
	}
	address := func(what string, v6 int32) []byte {
		n := 4
		if s.sysFlag&v6 != 0 {
			n = 16
		}
		return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, what)
	}
	s.born, s.host = address("born", primitive.FlagBornHostV6), address("host", primitive.FlagStoreHostV6)
	part := rapid.StringOf(rapid.SampledFrom([]rune{'a', 'b', 'é', nameEnd, valueEnd}))
	for range rapid.IntRange(0, 12).Draw(t, "properties") {
		name := rapid.SampledFrom([]string{"UNIQ_KEY", "TAGS", "gray_tag", "", "x"}).Draw(t, "name")
		if rapid.Bool().Draw(t, "odd") {
			name += part.Draw(t, "oddity")
		}
		s.properties += name + string(nameEnd) + part.Draw(t, "value") + string(valueEnd)
	}
	if rapid.Bool().Draw(t, "no end") {
		s.properties = strings.TrimSuffix(s.properties, string(valueEnd))
	}
	return s
}

// sameMessages compares all that there is of messages.
func sameMessages(want, got []*primitive.MessageExt) string {
	properties := func(list []*primitive.MessageExt) (all []map[string]string) {
		for _, m := range list {
			all = append(all, m.GetProperties())
		}
		return all
	}
	return cmp.Diff(properties(want), properties(got)) +
		cmp.Diff(want, got, cmpopts.IgnoreUnexported(primitive.Message{}), cmpopts.EquateEmpty())
}

// TestMessagesAreDecodedAsTheClientDoes: whatever a broker may send.
func TestMessagesAreDecodedAsTheClientDoes(t *testing.T) {
	plain := 0
	rapid.Check(t, func(t *rapid.T) {
		var wire []byte
		for range rapid.IntRange(0, 5).Draw(t, "messages") {
			wire = append(wire, drawStored(t).encode()...)
		}
		got, err := decodeMessages(wire)
		if err != nil {
			t.Fatal(err)
		}
		if diff := sameMessages(primitive.DecodeMessage(wire), got); diff != "" {
			t.Fatalf("(-client +own):\n%s", diff)
		}
		if n, err := countMessages(wire); err != nil {
			t.Fatal(err)
		} else if _, ok := decodePlain(wire, n); ok && n > 0 {
			plain++
		}
	})
	if plain == 0 {
		t.Error("none was decoded without the client")
	}
}

func TestMessagesOutOfTheOrdinaryAreTheClients(t *testing.T) {
	s := stored{born: []byte{127, 0, 0, 1}, host: []byte{10, 0, 0, 1}, topic: "t", body: []byte("hello"), properties: "UNIQ_KEY\x01id\x02"}
	wire := s.encode()
	msgs, ok := decodePlain(wire, 1)
	if !ok || len(msgs) != 1 || msgs[0].MsgId != "id" || string(msgs[0].Body) != "hello" {
		t.Fatalf("decoded as %v, %v", msgs, ok)
	}
	for n := 1; n < len(wire); n++ {
		if msgs, err := decodeMessages(wire[:n]); !errors.Is(err, ErrMalformedFrame) || msgs != nil {
			t.Errorf("%d of %d bytes: %v, %v", n, len(wire), msgs, err)
		}
	}
	for _, flag := range []int32{primitive.FlagCompressed, primitive.FlagBornHostV6, primitive.FlagStoreHostV6} {
		s.sysFlag = flag
		if _, ok := decodePlain(s.encode(), 1); ok {
			t.Errorf("flag %d was decoded", flag)
		}
	}
}

// TestGarbageIsNoMessage: what the client would make messages of that nobody sent is an error.
func TestGarbageIsNoMessage(t *testing.T) {
	good := stored{
		born: []byte{127, 0, 0, 1}, host: []byte{10, 0, 0, 1}, topic: "t", body: []byte("hello"), properties: "UNIQ_KEY\x01id\x02",
		numbers: [6]int64{2: 7}, queue: 3,
	}
	long, v6 := good, good
	long.topic = strings.Repeat("t", MaxTopic+1)
	v6.sysFlag, v6.born = primitive.FlagBornHostV6, make([]byte, 16)
	tooLarge, tooSmall := good.encode(), v6.encode()
	tooLarge[3]++
	tooSmall[3]--
	ext := func(next string) map[string]string { return map[string]string{"nextBeginOffset": next} }
	p := Pull{Group: "g", Queue: Queue{Topic: "t", Broker: "b", ID: 3}, Offset: 7}
	if r, err := pulled("h:1", p, Command{Body: good.encode(), Ext: ext("8")}); err != nil || len(r.Messages) != 1 || r.Messages[0].QueueOffset != 7 {
		t.Fatalf("a good one: %+v, %v", r, err)
	}
	for name, tc := range map[string]struct {
		wire []byte
		next string
		says string
	}{
		"form V2":             {long.encodeAs(-626843477), "8", "more than 127 bytes"},
		"another form":        {good.encodeAs(1), "8", "magic code 0x1"},
		"too large":           {tooLarge, "8", "want 91 to"},
		"too small, of IPv6":  {append(tooSmall, good.encode()...), "8", "magic code"},
		"of another queue":    {stored{born: good.born, host: good.host, queue: 4, numbers: good.numbers}.encode(), "8", "queue 4 at 7"},
		"behind what is next": {good.encode(), "7", "queue 3 at 7, with the next at 7"},
	} {
		if r, err := pulled("h:1", p, Command{Body: tc.wire, Ext: ext(tc.next)}); !errors.Is(err, ErrMalformedFrame) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %+v, %v, want ErrMalformedFrame that says %q", name, r, err, tc.says)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	s := stored{
		born: []byte{127, 0, 0, 1}, host: []byte{10, 0, 0, 1}, topic: "TEST_MQ", body: make([]byte, 128),
		properties: "UNIQ_KEY\x01AC1100020C5A000000000000000000A1\x02WAIT\x01true\x02gray_tag\x01gray\x02gray_request_id\x010123456789abcdef0123456789abcdef\x02",
	}
	var wire []byte
	for range 32 {
		wire = append(wire, s.encode()...)
	}
	for name, decode := range map[string]func([]byte) []*primitive.MessageExt{
		"client": primitive.DecodeMessage,
		"own":    func(wire []byte) []*primitive.MessageExt { m, _ := decodeMessages(wire); return m },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decode(wire)
			}
		})
	}
}

// FuzzDecodeMessages: whatever a broker answers is an error, or as many messages as its frames say, each of its own size; what is
// decoded here is what the client makes of it.
func FuzzDecodeMessages(f *testing.F) {
	s := stored{born: []byte{127, 0, 0, 1}, host: []byte{10, 0, 0, 1}, topic: "t", body: []byte("hello"), properties: "UNIQ_KEY\x01id\x02TAGS\x01a"}
	f.Add(s.encode())
	f.Add(append(s.encode(), s.encode()...))
	s.sysFlag = primitive.FlagCompressed
	f.Add(s.encode())
	s.sysFlag, s.born = primitive.FlagBornHostV6, make([]byte, 16)
	f.Add(s.encode())
	f.Fuzz(func(t *testing.T, wire []byte) {
		got, err := decodeMessages(wire)
		if err != nil {
			if !errors.Is(err, ErrMalformedFrame) || got != nil {
				t.Fatalf("%v, %v", got, err)
			}
			return
		}
		size := 0
		for _, m := range got {
			size += int(m.StoreSize)
		}
		if size != len(wire) {
			t.Fatalf("%d messages of %d bytes were made of %d", len(got), size, len(wire))
		}
		if _, ok := decodePlain(wire, len(got)); !ok {
			return
		}
		if diff := sameMessages(primitive.DecodeMessage(wire), got); diff != "" {
			t.Fatalf("(-client +own):\n%s", diff)
		}
	})
}
