package remoting

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := header{
			Code: rapid.Int().Draw(t, "code"), Language: "GO", Version: 317, Opaque: rapid.Int32().Draw(t, "opaque"),
			Flag: rapid.Int32().Draw(t, "flag"), Remark: rapid.String().Draw(t, "remark"),
			ExtFields: rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "fields"),
		}
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		frame, err := appendFrame(nil, want, body)
		if err != nil {
			t.Fatal(err)
		}
		r := bytes.NewReader(append(frame, 1, 2, 3))
		got, gotBody, err := readFrame(r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" || !bytes.Equal(body, gotBody) {
			t.Fatalf("header (-want +got):\n%s\nbody %x, want %x", diff, gotBody, body)
		}
		if r.Len() != 3 {
			t.Fatalf("%d bytes of the next frame are left, want 3", r.Len())
		}
	})
}

func TestReadFrameRefuses(t *testing.T) {
	raw := func(size, mark uint32, rest string) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		return append(binary.BigEndian.AppendUint32(b, mark), rest...)
	}
	for _, tc := range []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, io.EOF},
		{"half a length", []byte{0, 0}, io.ErrUnexpectedEOF},
		{"length 3", raw(3, 0, ""), ErrMalformedFrame},
		{"too long", raw(MaxFrame+1, 0, ""), ErrMalformedFrame},
		{"an HTTP answer", []byte("HTTP/1.1 400 Bad Request\r\n"), ErrMalformedFrame},
		{"the other codec", raw(8, 1<<24|4, "1234"), ErrMalformedFrame},
		{"header longer than the frame", raw(8, 5, "1234"), ErrMalformedFrame},
		{"cut off", raw(MaxFrame, 2, "{}"), ErrMalformedFrame},
		{"no JSON", raw(6, 2, "{]"), ErrMalformedFrame},
		{"wrong JSON", raw(14, 10, `{"code":""}`)[:18], ErrMalformedFrame},
	} {
		if _, _, err := readFrame(bytes.NewReader(tc.in)); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	if _, err := appendFrame(nil, header{}, make([]byte, MaxFrame)); !errors.Is(err, ErrMalformedFrame) {
		t.Errorf("a frame beyond the limit gave %v", err)
	}
}

func FuzzReadFrame(f *testing.F) {
	good, err := appendFrame(nil, header{Code: 105, Language: "GO", Opaque: 1, ExtFields: map[string]string{"topic": "T"}}, []byte("body"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:11])
	f.Add([]byte{0, 0, 0, 4, 0, 0, 0, 0})
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, body, err := readFrame(bytes.NewReader(in))
		if err != nil {
			return
		}
		again, err := appendFrame(nil, h, body)
		if err != nil {
			t.Skip() // as JSON it may become longer than the limit
		}
		h2, body2, err := readFrame(bytes.NewReader(again))
		if err != nil {
			t.Fatalf("can't read what was written: %v", err)
		}
		if diff := cmp.Diff(h, h2); diff != "" || !bytes.Equal(body, body2) {
			t.Fatalf("not the same again:\n%s", diff)
		}
	})
}

func TestQuoteKeys(t *testing.T) {
	for in, want := range map[string]string{
		`{0:"a",1:"b"}`:             `{"0":"a","1":"b"}`,
		`{"t":{-1:5 , 12 : {3:4}}}`: `{"t":{"-1":5 , "12" : {"3":4}}}`,
		`{"a":"x,1:2{3:4"}`:         `{"a":"x,1:2{3:4"}`,
		`{"a\"{1:2":[1,2,{7:[8]}]}`: `{"a\"{1:2":[1,2,{"7":[8]}]}`,
		`[1,2,3]`:                   `[1,2,3]`,
		`{"a":1,"b":[-1,2]}`:        `{"a":1,"b":[-1,2]}`,
		``:                          ``,
	} {
		if got := string(quoteKeys([]byte(in))); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

func FuzzQuoteKeys(f *testing.F) {
	f.Add(`{0:"a",1:{2:3}}`)
	f.Add(`{"a\\":"{1:2,","b":[1,2]}`)
	f.Add(strings.Repeat(`{1:`, 50))
	f.Fuzz(func(t *testing.T, in string) {
		out := quoteKeys([]byte(in))
		if json.Valid([]byte(in)) && string(out) != in {
			t.Fatalf("valid JSON was changed: %s -> %s", in, out)
		}
		if twice := quoteKeys(out); !bytes.Equal(out, twice) {
			t.Fatalf("a second time changes more: %s -> %s", out, twice)
		}
	})
}
