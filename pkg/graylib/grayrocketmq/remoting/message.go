package remoting

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// ownProperties are those that a consumer adds to each message: room is left for them.
const ownProperties = 3

// decodeMessages decodes what a pull brought as the client does ([primitive.DecodeMessage]), which takes some 60 allocations a message
// for what needs six. What is out of the ordinary (compressed bodies, IPv6 hosts, whatever isn't well formed) is the client's to
// decode, once the frames of all are checked: it looks at neither form nor sizes, and panics on what is malformed, or makes
// messages of it that nobody sent.
func decodeMessages(body []byte) (msgs []*primitive.MessageExt, err error) {
	n, err := countMessages(body)
	if err != nil {
		return nil, err
	}
	if msgs, ok := decodePlain(body, n); ok {
		return msgs, nil
	}
	defer func() {
		if p := recover(); p != nil {
			msgs, err = nil, fmt.Errorf("%w: messages: %v", ErrMalformedFrame, p)
		}
	}()
	if msgs = primitive.DecodeMessage(body); len(msgs) != n {
		return nil, fmt.Errorf("%w: %d messages where there are %d", ErrMalformedFrame, len(msgs), n)
	}
	for _, m := range msgs {
		if int(m.StoreSize) != int(binary.BigEndian.Uint32(body)) {
			return nil, fmt.Errorf("%w: a message of %d bytes is decoded as one of %d", ErrMalformedFrame, binary.BigEndian.Uint32(body), m.StoreSize)
		}
		body = body[m.StoreSize:]
	}
	return msgs, nil
}

// MaxTopic is the greatest length in bytes of a topic's name in the form in which brokers store messages, V1, and which clients
// for Go understand: one signed byte holds it (MessageDecoder of the server). Brokers of 5.x store messages of topics with longer
// names in the form V2, those of 4.x refuse them.
const MaxTopic = 127

// The codes by which forms are known (MessageDecoder.MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2).
const (
	magicV1 uint32 = 0xdaa320a7
	magicV2 uint32 = 0xdaa320ab
)

// countMessages checks the forms and sizes of all messages and counts them.
func countMessages(data []byte) (n int, err error) {
	for ; len(data) > 0; n++ {
		if len(data) < leastMessage {
			return 0, fmt.Errorf("%w: %d bytes are left behind %d messages", ErrMalformedFrame, len(data), n)
		}
		size, magic := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[atMagic:])
		switch {
		case magic == magicV2:
			return 0, fmt.Errorf("%w: a message in the form V2: the topic's name has more than %d bytes", ErrMalformedFrame, MaxTopic)
		case magic != magicV1:
			return 0, fmt.Errorf("%w: a message with magic code %#x: want %#x", ErrMalformedFrame, magic, magicV1)
		case size < leastMessage || uint64(size) > uint64(len(data)):
			return 0, fmt.Errorf("%w: a message of %d bytes: want %d to %d", ErrMalformedFrame, size, leastMessage, len(data))
		}
		data = data[size:]
	}
	return n, nil
}

// Where the fields of a message lie as brokers store it (MessageDecoder of the server), with hosts of IPv4.
const (
	atMagic, atBodyCRC, atQueue, atFlag, atQueueOffset, atCommitLog, atSysFlag = 4, 8, 12, 16, 20, 28, 36
	atBorn, atBornHost, atStored, atStoreHost                                  = 40, 48, 56, 64
	atReconsumed, atPrepared, atBodySize, atBody                               = 72, 76, 84, 88
	hostSize                                                                   = 8 // address and port

	leastMessage = atBody + 1 + 2 // with the lengths of topic and properties
)

// extraordinary are the flags of messages that decodePlain leaves to the client.
const extraordinary = primitive.FlagCompressed | primitive.FlagBornHostV6 | primitive.FlagStoreHostV6

// decodePlain decodes n messages that countMessages has checked; false says that one of them isn't for it.
func decodePlain(data []byte, n int) ([]*primitive.MessageExt, bool) {
	room, msgs := make([]primitive.MessageExt, n), make([]*primitive.MessageExt, n)
	var before seen
	for i := range room {
		size := binary.BigEndian.Uint32(data)
		if !decodeOne(&room[i], data[:size], &before) {
			return nil, false
		}
		msgs[i], data = &room[i], data[size:]
	}
	return msgs, true
}

// seen is what the message before had: most of a pull's have the same.
type seen struct {
	born, stored hostName
	topic        string
}

// hostName is the text of a host as last seen.
type hostName struct {
	wire [hostSize]byte
	text string
}

func (h *hostName) of(wire []byte) string {
	if h.text == "" || string(h.wire[:]) != string(wire) {
		copy(h.wire[:], wire)
		port := int32(binary.BigEndian.Uint32(wire[4:]))
		h.text = netip.AddrFrom4([4]byte(wire)).String() + ":" + strconv.Itoa(int(port))
	}
	return h.text
}

// decodeOne decodes what is exactly one message.
func decodeOne(m *primitive.MessageExt, data []byte, before *seen) bool {
	u32 := func(at int) int32 { return int32(binary.BigEndian.Uint32(data[at:])) }
	u64 := func(at int) int64 { return int64(binary.BigEndian.Uint64(data[at:])) }
	m.StoreSize, m.BodyCRC, m.Flag, m.SysFlag = u32(0), u32(atBodyCRC), u32(atFlag), u32(atSysFlag)
	if m.SysFlag&extraordinary != 0 {
		return false
	}
	m.Queue = &primitive.MessageQueue{QueueId: int(u32(atQueue))}
	m.QueueOffset, m.CommitLogOffset = u64(atQueueOffset), u64(atCommitLog)
	m.BornTimestamp, m.BornHost = u64(atBorn), before.born.of(data[atBornHost:][:hostSize])
	m.StoreTimestamp, m.StoreHost = u64(atStored), before.stored.of(data[atStoreHost:][:hostSize])
	m.ReconsumeTimes, m.PreparedTransactionOffset = u32(atReconsumed), u64(atPrepared)

	// Behind the body: the topic with its length in one byte, the properties with theirs in two.
	rest := data[atBody:]
	cut := func(n int) ([]byte, bool) {
		if n < 0 || n > len(rest) {
			return nil, false
		}
		part := rest[:n:n]
		rest = rest[n:]
		return part, true
	}
	var ok bool
	if m.Body, ok = cut(int(u32(atBodySize))); !ok || len(rest) < 1 {
		return false
	}
	n := int(rest[0])
	rest = rest[1:]
	topic, ok := cut(n)
	if !ok || len(rest) < 2 {
		return false
	}
	if string(topic) != before.topic {
		before.topic = string(topic)
	}
	m.Topic = before.topic
	n = int(int16(binary.BigEndian.Uint16(rest)))
	rest = rest[2:]
	properties, ok := cut(n)
	if !ok || len(rest) > 0 {
		return false
	}
	m.WithProperties(decodeProperties(string(properties)))

	var id [16]byte
	copy(id[:], data[atStoreHost:][:hostSize])
	binary.BigEndian.PutUint64(id[hostSize:], uint64(m.CommitLogOffset))
	var text [32]byte
	hex.Encode(text[:], id[:])
	for i, c := range text {
		if c >= 'a' {
			text[i] = c - 'a' + 'A'
		}
	}
	m.OffsetMsgId = string(text[:])
	if m.MsgId = m.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex); m.MsgId == "" {
		m.MsgId = m.OffsetMsgId
	}
	return true
}

// Separators of a message's properties on the wire.
const (
	nameEnd  = '\x01'
	valueEnd = '\x02'
)

// decodeProperties decodes properties; what isn't one name with one value is left out, as the client does.
func decodeProperties(wire string) map[string]string {
	wire = strings.TrimSuffix(wire, string(valueEnd))
	properties := make(map[string]string, strings.Count(wire, string(valueEnd))+1+ownProperties)
	for item := range strings.SplitSeq(wire, string(valueEnd)) {
		if name, value, ok := strings.Cut(item, string(nameEnd)); ok && strings.IndexByte(value, nameEnd) < 0 {
			properties[name] = value
		}
	}
	return properties
}
