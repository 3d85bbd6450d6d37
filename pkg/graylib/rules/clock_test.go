package rules

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/graychain/graychain/pkg/graylib"
)

// clockedStore is a config centre with a clock of its own.
type clockedStore struct {
	*memory
	ahead, within time.Duration
	err           error
	asked         int
}

func (s *clockedStore) Clock(context.Context) (ahead, within time.Duration, err error) {
	s.asked++
	return s.ahead, s.within, s.err
}

// TestPublishersClocks: `listed` and `until` are told by the clock of whoever publishes, so one that is wrong publishes nothing.
func TestPublishersClocks(t *testing.T) {
	away := errors.New("store: no answer")
	for _, tt := range []struct {
		name          string
		ahead, within time.Duration
		err           error
		want          string // the error; "" = published
	}{
		{"the same", 0, time.Second, nil, ""},
		{"as far as clocks may", MaxSkew, 0, nil, ""},
		{"perhaps no further", -MaxSkew - time.Second, time.Second, nil, ""},
		{"slow", 90 * time.Second, time.Second, nil, "this machine's clock differs from the config centre's by 1m30s: it is 2000-01-01T00:00:00Z here and 2000-01-01T00:01:30Z there; set the clocks by NTP, they may differ by 15s: a lane's messages are told from others by time"},
		{"fast", -time.Hour, time.Second, nil, "this machine's clock differs from the config centre's by 1h0m0s: it is 2000-01-01T00:00:00Z here and 1999-12-31T23:00:00Z there; set the clocks by NTP, they may differ by 15s: a lane's messages are told from others by time"},
		{"not to be had", 0, 0, away, ""},
	} {
		publishing := map[string]func(ctx context.Context, s Store) (Result, error){
			"apply": func(ctx context.Context, s Store) (Result, error) {
				return Apply(ctx, s, []byte("lanes: [{tag: gray}, {tag: blue}]\n"))
			},
			"forget": func(ctx context.Context, s Store) (Result, error) {
				return Modify(ctx, s, func(current []byte) ([]byte, error) {
					retired, err := RetireLane(current, "gray")
					if err != nil {
						return nil, err
					}
					return ForgetLane(retired, "gray", time.Now().Add(ForgetNotice+time.Second))
				})
			},
			"rollback": func(ctx context.Context, s Store) (Result, error) { return Rollback(ctx, s.(Historian), 12) },
		}
		for how, publish := range publishing {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z
					s := &clockedStore{memory: &memory{}, ahead: tt.ahead, within: tt.within, err: tt.err}
					s.put("ago 1h;" + publishedGray)
					result, err := publish(t.Context(), s)
					if tt.want != "" {
						if !errors.Is(err, ErrClock) || err.Error() != tt.want || len(s.versions) != 1 {
							t.Errorf("broke G6 nothing twice: %v, want %s and nothing published", err, tt.want)
						}
						return
					}
					if err != nil || len(s.versions) != 2 {
						t.Fatalf("%v; %d versions", err, len(s.versions))
					}
					noted := strings.Contains(strings.Join(result.Notes, "\n"), "this machine's clock couldn't be compared with the config centre's: store: no answer")
					if noted != (tt.err != nil) {
						t.Errorf("notes %q", result.Notes)
					}
				})
			})
		}
	}
	t.Run("nothing to publish", func(t *testing.T) {
		s := &clockedStore{memory: &memory{}, ahead: time.Hour}
		s.put(publishedGray)
		if _, err := Modify(t.Context(), s, func(current []byte) ([]byte, error) { return current, nil }); err != nil || s.asked != 0 {
			t.Errorf("%v, asked %d times", err, s.asked)
		}
		if _, err := Modify(t.Context(), s, func(current []byte) ([]byte, error) {
			return SetConsumer(current, Consumer{Consumer: "a", Baseline: graylib.ModeAll})
		}); !errors.Is(err, ErrClock) {
			t.Errorf("%v, want ErrClock", err)
		}
	})
}
