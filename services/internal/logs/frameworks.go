package logs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/netpoll"
)

// Frameworks makes l the logger of Hertz, Kitex and netpoll. These are process-wide and must be set before anything of
// them runs: none of them guards its logger. The Nacos and RocketMQ clients get slog's default from their adapters.
func Frameworks(l *slog.Logger) {
	h := hertzLogger{bridge{l.With("logger", "hertz")}}
	hlog.SetLogger(h)
	hlog.SetSystemLogger(h)
	klog.SetLogger(kitexLogger{bridge{l.With("logger", "kitex")}})
	netpoll.SetLoggerOutput(lineWriter{l.With("logger", "netpoll")})
}

// hertzLogger and kitexLogger differ in the type of a level alone, which slog's own level makes useless.
type hertzLogger struct{ bridge }

func (hertzLogger) SetLevel(hlog.Level) {}

type kitexLogger struct{ bridge }

func (kitexLogger) SetLevel(klog.Level) {}

// bridge is the loggers' interface of Hertz and Kitex over slog.
type bridge struct{ log *slog.Logger }

// SetOutput does nothing: where records go is slog's matter.
func (bridge) SetOutput(io.Writer) {}

func (b bridge) print(level slog.Level, v ...any) {
	if b.log.Enabled(context.Background(), level) {
		b.emit(context.Background(), level, fmt.Sprint(v...))
	}
}

func (b bridge) printf(ctx context.Context, level slog.Level, format string, v ...any) {
	if ctx == nil {
		ctx = context.Background()
	}
	if b.log.Enabled(ctx, level) {
		b.emit(ctx, level, fmt.Sprintf(format, v...))
	}
}

func (b bridge) emit(ctx context.Context, level slog.Level, msg string) {
	var pc [1]uintptr
	runtime.Callers(4, pc[:]) // the framework's line, not this one
	r := slog.NewRecord(time.Now(), level, strings.TrimRight(msg, "\n"), pc[0])
	_ = b.log.Handler().Handle(ctx, r)
}

func (b bridge) fatal(ctx context.Context, msg string) {
	b.emit(ctx, slog.LevelError, msg)
	os.Exit(1) // what both frameworks promise of Fatal
}

const levelTrace = slog.LevelDebug - 4

func (b bridge) Trace(v ...any)  { b.print(levelTrace, v...) }
func (b bridge) Debug(v ...any)  { b.print(slog.LevelDebug, v...) }
func (b bridge) Info(v ...any)   { b.print(slog.LevelInfo, v...) }
func (b bridge) Notice(v ...any) { b.print(slog.LevelInfo, v...) }
func (b bridge) Warn(v ...any)   { b.print(slog.LevelWarn, v...) }
func (b bridge) Error(v ...any)  { b.print(slog.LevelError, v...) }
func (b bridge) Fatal(v ...any)  { b.fatal(context.Background(), fmt.Sprint(v...)) }

func (b bridge) Tracef(f string, v ...any)  { b.printf(context.Background(), levelTrace, f, v...) }
func (b bridge) Debugf(f string, v ...any)  { b.printf(context.Background(), slog.LevelDebug, f, v...) }
func (b bridge) Infof(f string, v ...any)   { b.printf(context.Background(), slog.LevelInfo, f, v...) }
func (b bridge) Noticef(f string, v ...any) { b.printf(context.Background(), slog.LevelInfo, f, v...) }
func (b bridge) Warnf(f string, v ...any)   { b.printf(context.Background(), slog.LevelWarn, f, v...) }
func (b bridge) Errorf(f string, v ...any)  { b.printf(context.Background(), slog.LevelError, f, v...) }
func (b bridge) Fatalf(f string, v ...any)  { b.fatal(context.Background(), fmt.Sprintf(f, v...)) }

func (b bridge) CtxTracef(ctx context.Context, f string, v ...any) {
	b.printf(ctx, levelTrace, f, v...)
}

func (b bridge) CtxDebugf(ctx context.Context, f string, v ...any) {
	b.printf(ctx, slog.LevelDebug, f, v...)
}

func (b bridge) CtxInfof(ctx context.Context, f string, v ...any) {
	b.printf(ctx, slog.LevelInfo, f, v...)
}

func (b bridge) CtxNoticef(ctx context.Context, f string, v ...any) {
	b.printf(ctx, slog.LevelInfo, f, v...)
}

func (b bridge) CtxWarnf(ctx context.Context, f string, v ...any) {
	b.printf(ctx, slog.LevelWarn, f, v...)
}

func (b bridge) CtxErrorf(ctx context.Context, f string, v ...any) {
	b.printf(ctx, slog.LevelError, f, v...)
}

func (b bridge) CtxFatalf(ctx context.Context, f string, v ...any) {
	b.fatal(ctx, fmt.Sprintf(f, v...))
}

// lineWriter logs each write as a record; netpoll writes what went wrong and nothing else.
type lineWriter struct{ log *slog.Logger }

// Write implements io.Writer.
func (w lineWriter) Write(p []byte) (int, error) {
	w.log.Warn(strings.TrimSpace(string(p)))
	return len(p), nil
}
