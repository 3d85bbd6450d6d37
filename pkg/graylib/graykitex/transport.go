package graykitex

import (
	"fmt"

	"github.com/cloudwego/kitex/transport"
)

// checkTransport tells whether calls and streams over a client's transport carry metainfo.
func checkTransport(tp transport.Protocol) error {
	const fix = "want client.WithTransportProtocol(transport.TTHeaderFramed), " +
		"with streams transport.TTHeaderStreaming|transport.TTHeaderFramed, or transport.GRPC, and none of another kind after graykitex's suite"
	switch {
	case tp&transport.HTTP != 0:
		return fmt.Errorf("graykitex: %w: client transport %q has no place for it: %s", ErrTransport, tp, fix)
	case tp&(transport.TTHeader|transport.GRPC) == 0:
		return fmt.Errorf("graykitex: %w: client transport %q loses it on calls: %s", ErrTransport, tp, fix)
	}
	return nil
}
