package graykitex

import (
	"slices"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"

	"github.com/graychain/graychain/pkg/graylib"
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
		so.MetaHandlers = metaHandlers(s.o.rt, so.MetaHandlers)
		for _, opt := range []server.Option{
			server.WithMiddleware(r.serve),
			server.WithStreamOptions(server.WithStreamSendMiddleware(sendHopsFirst)),
		} {
			opt.F(so, di)
		}
	}}}
}

// metaHandlers returns the handlers of a server's messages with ours in place of metainfo's, and with TTHeader's.
func metaHandlers(rt *graylib.Runtime, list []remote.MetaHandler) []remote.MetaHandler {
	list = slices.Clone(list)
	for i, h := range list {
		if h == remote.MetaHandler(transmeta.MetainfoServerHandler) {
			list[i] = &serverMeta{rt, transmeta.MetainfoServerHandler}
		}
	}
	if !slices.Contains(list, transmeta.ServerTTHeaderHandler) {
		list = append(list, transmeta.ServerTTHeaderHandler)
	}
	return list
}
