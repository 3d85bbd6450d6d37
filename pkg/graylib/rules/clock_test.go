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
	takes         time.Duration
}

func (s *clockedStore) Clock(context.Context) (ahead, within time.Duration, err error) {
	time.Sleep(s.takes)
	return s.ahead, s.within, s.err
}

// TestPublishersClocks: `listed` and `until` are told by the clock of whoever publishes, so with one that is wrong neither is published.
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
			"rollback": func(ctx context.Context, s Store) (Result, error) { return Rollback(ctx, s.(Historian), 11) },
		}
		for how, publish := range publishing {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z
					s := &clockedStore{memory: &memory{}, ahead: tt.ahead, within: tt.within, err: tt.err}
					if how == "rollback" { // gray is listed anew
						s.put("ago 14h;" + strings.Replace(publishedGray, "12", "11", 1))
						s.put("ago 13h30m;" + publishedForgotten)
						s.put("ago 1h;revision: 13\n")
					} else {
						s.put("ago 1h;" + publishedGray)
					}
					before := len(s.versions)
					result, err := publish(t.Context(), s)
					if tt.want != "" {
						if !errors.Is(err, ErrClock) || err.Error() != tt.want || len(s.versions) != before {
							t.Errorf("broke G6 nothing twice: %v, want %s and nothing published", err, tt.want)
						}
						return
					}
					if err != nil || len(s.versions) != before+1 {
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
}

// TestWrongClocksHinderNothingElse: a publishing that writes no time has a note.
func TestWrongClocksHinderNothingElse(t *testing.T) {
	setConsumer := func(current []byte) ([]byte, error) {
		return SetConsumer(current, Consumer{Consumer: "a", Baseline: graylib.ModeAll})
	}
	for _, tt := range []struct {
		name    string
		publish func(ctx context.Context, s Historian) (Result, error)
		noted   bool
		err     error
	}{
		{"a consumer's mode", func(ctx context.Context, s Historian) (Result, error) { return Modify(ctx, s, setConsumer) }, true, nil},
		{"the lanes as they are", func(ctx context.Context, s Historian) (Result, error) {
			return Apply(ctx, s, []byte("lanes: [{tag: blue, state: retired, until: 1999-12-31T11:00:00Z}, {tag: gray}]\n"))
		}, true, nil},
		{"a lane retires", func(ctx context.Context, s Historian) (Result, error) {
			return Modify(ctx, s, func(current []byte) ([]byte, error) { return RetireLane(current, "gray") })
		}, true, nil},
		{"back to a consumer's mode", func(ctx context.Context, s Historian) (Result, error) { return Rollback(ctx, s, 13) }, true, nil},
		{"nothing new", func(ctx context.Context, s Historian) (Result, error) {
			return Modify(ctx, s, func(current []byte) ([]byte, error) { return current, nil })
		}, false, nil},
		{"a lane leaves", func(ctx context.Context, s Historian) (Result, error) {
			return Drop(ctx, s, "blue", time.Date(1999, 12, 31, 11, 0, 0, 0, time.UTC))
		}, false, ErrClock},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z
				s := &clockedStore{memory: &memory{}, ahead: -time.Hour}
				lanes := publishedGray + "- {tag: blue, listed: 1999-12-31T09:00:00Z, state: retired, until: 1999-12-31T11:00:00Z}\n"
				s.put("ago 14h;" + lanes)
				s.put("ago 13h30m;" + strings.Replace(lanes, "12", "13", 1) + "messages: [{consumer: x}]\n")
				result, err := tt.publish(t.Context(), s)
				if !errors.Is(err, tt.err) || (len(result.Notes) == 1 && strings.HasPrefix(result.Notes[0], ErrClock.Error()+" by 1h0m0s")) != tt.noted || result.Changed != tt.noted {
					t.Errorf("%+v, %v; want %v, changed with a note: %v", result, err, tt.err, tt.noted)
				}
			})
		})
	}
}

// TestTimesAreToldAfterTheClockWasChecked: a port that swallows what is sent to it takes seconds.
func TestTimesAreToldAfterTheClockWasChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // it is 2000-01-01T00:00:00Z
		s := &clockedStore{memory: &memory{}, takes: 10 * time.Second}
		var began time.Time
		got, err := Modify(t.Context(), s, func([]byte) ([]byte, error) {
			began = time.Now()
			return []byte("lanes: [{tag: gray}]\n"), nil
		})
		if want := time.Date(2000, 1, 1, 0, 0, 10, 0, time.UTC); err != nil || !began.Equal(want) || !got.Document.Lanes[0].Listed.Equal(want) {
			t.Errorf("changed at %v, %+v, %v; want %v", began, got, err, want)
		}
	})
}
