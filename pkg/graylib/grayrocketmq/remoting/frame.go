package remoting

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxFrame is the greatest frame that is read or written, in bytes: the server's own default limit
// (NettyDecoder, com.rocketmq.remoting.frameMaxLength = 16 MiB).
const MaxFrame = 16 << 20

// ErrMalformedFrame is wrapped where the other side doesn't speak the protocol.
var ErrMalformedFrame = errors.New("malformed RocketMQ frame")

// Codecs of a frame's header, in the first byte of the header's length.
const codecJSON = 0

// flagResponse is set in the header of an answer.
const flagResponse = 1

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
	head, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode header of request %d: %w", h.Code, err)
	}
	size := 4 + len(head) + len(body)
	if size > MaxFrame {
		return nil, fmt.Errorf("%w: request %d would take %d bytes, at most %d are sent", ErrMalformedFrame, h.Code, size, MaxFrame)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(size))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(head))|codecJSON<<24)
	dst = append(dst, head...)
	return append(dst, body...), nil
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
