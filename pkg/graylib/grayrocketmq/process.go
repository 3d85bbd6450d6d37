package grayrocketmq

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/rlog"

	"github.com/graychain/graychain/pkg/graylib"
)

var processOnce sync.Once

// prepareProcess sets what the client keeps per process, once, before our first client exists: its log goes to slog, and
// a panic in one of its goroutines is logged. Without a handler a timeout of SendAsync ends the process (client-go #1102).
func prepareProcess(rt *graylib.Runtime) {
	processOnce.Do(func() {
		rlog.SetLogger(clientLog{rt})
		if primitive.PanicHandler == nil {
			primitive.PanicHandler = func(v any) {
				rt.Logger().Error("panic inside the RocketMQ client", "panic", fmt.Sprint(v))
			}
		}
	})
}

// clientLog is the client's log as records of slog. What the client calls Info tells of its inner workings and is Debug
// here; its Debug is below that.
type clientLog struct{ rt *graylib.Runtime }

func (l clientLog) log(level slog.Level, msg string, fields map[string]any) {
	logger := l.rt.Logger()
	if msg == "" && len(fields) == 0 || !logger.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, len(fields)+1)
	attrs = append(attrs, slog.String("from", "rocketmq-client-go"))
	for k, v := range fields {
		attrs = append(attrs, slog.String(k, field(v)))
	}
	logger.LogAttrs(context.Background(), level, msg, attrs...)
}

// field renders a value of the client's log. Messages give their ids alone: their properties are still being written to,
// and bodies don't belong into a log.
func field(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case error:
		return v.Error()
	case *primitive.MessageExt:
		return v.MsgId
	case []*primitive.MessageExt:
		s := fmt.Sprintf("%d messages", len(v))
		for i, m := range v {
			if i == 8 {
				return s + " …"
			}
			s += " " + m.MsgId
		}
		return s
	case *primitive.Message:
		return "message to " + v.Topic
	}
	const limit = 1000
	s := fmt.Sprint(v)
	if len(s) > limit {
		s = s[:limit] + "…"
	}
	return s
}

// levelTrace is below slog's least level.
const levelTrace = slog.LevelDebug - 4

func (l clientLog) Debug(msg string, fields map[string]any)   { l.log(levelTrace, msg, fields) }
func (l clientLog) Info(msg string, fields map[string]any)    { l.log(slog.LevelDebug, msg, fields) }
func (l clientLog) Warning(msg string, fields map[string]any) { l.log(slog.LevelWarn, msg, fields) }
func (l clientLog) Error(msg string, fields map[string]any)   { l.log(slog.LevelError, msg, fields) }

// Fatal logs and does not end the process, which the client's own logger would: that is for main to decide.
func (l clientLog) Fatal(msg string, fields map[string]any) { l.log(slog.LevelError, msg, fields) }

// Level and OutputPath belong to the client's own logger; slog's handler decides here.
func (clientLog) Level(string)            {}
func (clientLog) OutputPath(string) error { return nil }
