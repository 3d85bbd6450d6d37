package graykitex

import (
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
)

// NewServerSuite returns the options that make a server gray-aware, for server.WithSuite.
func NewServerSuite(opts ...Option) server.Suite { return serverSuite{apply(opts)} }

// ServerOption is [NewServerSuite] as a single option.
func ServerOption(opts ...Option) server.Option { return server.WithSuite(NewServerSuite(opts...)) }

type serverSuite struct{ o *options }

// String keeps what Kitex prints of its options to a word.
func (serverSuite) String() string { return "graykitex" }

// Options implements [server.Suite].
func (s serverSuite) Options() []server.Option {
	if s.o.disabled() {
		return nil
	}
	return []server.Option{{F: func(so *server.Options, di *utils.Slice) {
		di.Push("graykitex")
		if _, twice := so.RemoteOpt.TransServerFactory.(*transServerFactory); twice {
			return
		}
		r := &registrar{o: s.o, server: so}
		so.RemoteOpt.TransServerFactory = &transServerFactory{TransServerFactory: so.RemoteOpt.TransServerFactory, registrar: r}
		if s.o.err != nil {
			return
		}
		if s.o.register {
			so.Registry = r
		}
		for _, opt := range []server.Option{
			server.WithMetaHandler(transmeta.ServerTTHeaderHandler),
			server.WithMetaHandler(answerHandler{}),
			server.WithMiddleware(r.serve),
			server.WithStreamOptions(server.WithStreamSendMiddleware(sendHopsFirst)),
		} {
			opt.F(so, di)
		}
	}}}
}
