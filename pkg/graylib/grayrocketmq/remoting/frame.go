package remoting

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"
)

// MaxFrame is the greatest frame that is read or written, in bytes: the server's own default limit
// (NettyDecoder, com.rocketmq.remoting.frameMaxLength = 16 MiB).
const MaxFrame = 16 << 20

// ErrMalformedFrame is wrapped where the other side doesn't speak the protocol.
var ErrMalformedFrame = errors.New("malformed RocketMQ frame")

// Codecs of a frame's header, in the first byte of the header's length.
const codecJSON = 0

// Flags of a header: it is an answer; nobody waits for one (RemotingCommand.RPC_TYPE, RPC_ONEWAY).
const (
	flagResponse = 1
	flagOneWay   = 2
)

// protocolVersion is what client-go v2.1.2 says of itself; brokers choose formats by it.
const protocolVersion = 317

// Command is one request or one answer.
type Command struct {
	Code   int               // of a request: what is asked for; of an answer: 0 = success
	Remark string            // an answer's text beside its code
	Ext    map[string]string // the fields of the request or the answer
	Body   []byte
}

// header is a frame's header as it stands on the wire.
type header struct {
	Code      int               `json:"code"`
	Language  string            `json:"language"`
	Version   int               `json:"version"`
	Opaque    int32             `json:"opaque"`
	Flag      int32             `json:"flag"`
	Remark    string            `json:"remark,omitempty"`
	ExtFields map[string]string `json:"extFields"`
}

// appendFrame encodes a frame.
func appendFrame(dst []byte, h header, body []byte) ([]byte, error) {
	const lengths = 8
	start := len(dst)
	dst = append(dst, make([]byte, lengths)...)
	dst = appendHeader(dst, h)
	head := len(dst) - start - lengths
	size := 4 + head + len(body)
	if size > MaxFrame {
		return nil, fmt.Errorf("%w: request %d would take %d bytes, at most %d are sent", ErrMalformedFrame, h.Code, size, MaxFrame)
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(size))
	binary.BigEndian.PutUint32(dst[start+4:], uint32(head)|codecJSON<<24)
	return append(dst, body...), nil
}

// appendHeader encodes a header. It goes with each pull and commit, so it is written here rather than by reflection.
func appendHeader(dst []byte, h header) []byte {
	number := func(name string, n int64) {
		dst = append(dst, name...)
		dst = strconv.AppendInt(dst, n, 10)
	}
	text := func(s string) {
		for i := range len(s) {
			if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
				quoted, _ := json.Marshal(s) // of a string there is no error
				dst = append(dst, quoted...)
				return
			}
		}
		dst = append(dst, '"')
		dst = append(dst, s...)
		dst = append(dst, '"')
	}
	number(`{"code":`, int64(h.Code))
	dst = append(dst, `,"language":`...)
	text(h.Language)
	number(`,"version":`, int64(h.Version))
	number(`,"opaque":`, int64(h.Opaque))
	number(`,"flag":`, int64(h.Flag))
	if h.Remark != "" {
		dst = append(dst, `,"remark":`...)
		text(h.Remark)
	}
	dst = append(dst, `,"extFields":`...)
	if h.ExtFields == nil {
		return append(dst, `null}`...)
	}
	between := byte('{')
	for k, v := range h.ExtFields {
		dst = append(dst, between)
		text(k)
		dst = append(dst, ':')
		text(v)
		between = ','
	}
	if between == '{' {
		dst = append(dst, between)
	}
	return append(dst, `}}`...)
}

// readFrame reads one frame. Its errors wrap ErrMalformedFrame, or are those of r; a clean end between two frames is
// io.EOF.
func readFrame(r io.Reader) (header, []byte, error) {
	var prefix [8]byte
	if _, err := io.ReadFull(r, prefix[:4]); err != nil {
		return header{}, nil, err
	}
	size := binary.BigEndian.Uint32(prefix[:4])
	if size < 4 || size > MaxFrame {
		return header{}, nil, fmt.Errorf("%w: length %d, want 4 to %d", ErrMalformedFrame, size, MaxFrame)
	}
	if _, err := io.ReadFull(r, prefix[4:]); err != nil {
		return header{}, nil, cut(err)
	}
	mark := binary.BigEndian.Uint32(prefix[4:])
	if codec := mark >> 24; codec != codecJSON {
		return header{}, nil, fmt.Errorf("%w: header codec %d, only %d (JSON) is spoken", ErrMalformedFrame, codec, codecJSON)
	}
	headSize := mark & 0xffffff
	if headSize > size-4 {
		return header{}, nil, fmt.Errorf("%w: header of %d bytes in a frame of %d", ErrMalformedFrame, headSize, size)
	}
	data, err := readBody(r, int(size-4))
	if err != nil {
		return header{}, nil, cut(err)
	}
	var h header
	if err := json.Unmarshal(data[:headSize], &h); err != nil {
		return header{}, nil, fmt.Errorf("%w: header: %w", ErrMalformedFrame, err)
	}
	return h, data[headSize:], nil
}

// trusted is how much of what a length announces is made room for before it is there: what a pull usually brings.
const trusted = 256 << 10

// readBody reads n bytes. Beyond what is trusted it reads in pieces: a lying length costs little more memory than was really
// sent.
func readBody(r io.Reader, n int) ([]byte, error) {
	data := make([]byte, min(n, trusted))
	for at := 0; ; {
		if _, err := io.ReadFull(r, data[at:]); err != nil {
			return nil, err
		}
		if at = len(data); at == n {
			return data, nil
		}
		more := make([]byte, min(n, 2*at))
		copy(more, data)
		data = more
	}
}

// cut names an end inside of a frame.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: cut off", ErrMalformedFrame)
	}
	return err
}
