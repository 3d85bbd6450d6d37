package remoting

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseReset(t *testing.T) {
	got, err := parseReset([]byte(`{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:5,{"brokerName":"b-2","queueId":13,"topic":"%RETRY%g"}:0
	}}`))
	want := map[Queue]int64{{Topic: "T", Broker: "b"}: 5, {Topic: "%RETRY%g", Broker: "b-2", ID: 13}: 0}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, bad := range []string{
		``, `{}`, `{"offsetTable":{}}`, `{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:-5}}`, `{"offsetTable":{{"brokerName":"b","queueId":"x","topic":"T"}:5}}`,
		`{"offsetTable":{{"queueId":0,"topic":"T"}:5}}`, `{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:99999999999999999999}}`,
	} {
		if got, err := parseReset([]byte(bad)); !errors.Is(err, ErrMalformedFrame) {
			t.Errorf("%s: %v, %v; want ErrMalformedFrame", bad, got, err)
		}
	}
}

func FuzzParseReset(f *testing.F) {
	f.Add([]byte(`{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:5}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		to, err := parseReset(body)
		if (err == nil) != (len(to) > 0) {
			t.Fatalf("%v, %v", to, err)
		}
		for q, offset := range to {
			if q.Topic == "" || q.Broker == "" || offset < 0 {
				t.Fatalf("%v to %d", q, offset)
			}
		}
	})
}
