package graylib

// Every name that two programs must agree on stands in this file (design/wire.md).

// Keys are the names under which one kind of boundary carries what belongs to a request.
type Keys struct {
	Tag         string // the request's tag
	Reason      string // the caller's reason for choosing this callee; empty where the boundary has none
	RequestID   string // made at the gateway
	TraceParent string // W3C trace context, https://www.w3.org/TR/trace-context/
	TraceState  string
	Hops        string // on the way out: HopsWanted, where they are; on the way back: the callee's hop and those below it, JSON
	Messages    string // on the way back: the messages sent by those hops, JSON
	Baggage     string // W3C baggage, the optional second carrier; empty where the boundary has none

	boundary boundary // which keys of other systems apply
}

// boundary is a kind of boundary, as presets distinguish them.
type boundary uint8

const (
	boundaryOther boundary = iota // no preset
	boundaryHTTP
	boundaryMessage
	boundaries
)

// HTTPKeys are header names, in the canonical lower case of HTTP/2; HTTP/1 compares them without regard to case.
var HTTPKeys = Keys{
	Tag:         "x-gray-tag",
	Reason:      "x-gray-reason",
	RequestID:   "x-request-id",
	TraceParent: "traceparent",
	TraceState:  "tracestate",
	Hops:        "x-gray-hops",
	Messages:    "x-gray-messages",
	Baggage:     "baggage",
	boundary:    boundaryHTTP,
}

// HTTPSignedTag is the header with a tag that a trusted source signed, see [SignTag]. It is read at the edge alone, and taken
// off there.
const HTTPSignedTag = "x-gray-signed-tag"

// RPCKeys are metainfo keys. Metainfo is rewritten to UPPER_SNAKE where it crosses HTTP, so nothing else is used.
// Tag, RequestID and the trace are persistent (Kitex services without graylib hand them on), Reason and the wish for hops
// are transient, and Hops and Messages travel backward.
var RPCKeys = Keys{
	Tag:         "GRAY_TAG",
	Reason:      "GRAY_REASON",
	RequestID:   "GRAY_REQUEST_ID",
	TraceParent: "TRACEPARENT",
	TraceState:  "TRACESTATE",
	Hops:        "GRAY_HOPS",
	Messages:    "GRAY_MESSAGES",
	Baggage:     "BAGGAGE",
}

// HopsWanted is the value of Keys.Hops in a request whose sender wants the hops back, see [WithHops].
const HopsWanted = "want"

// MessageKeys are user properties of a message. A message has no reason and no way back.
var MessageKeys = Keys{
	Tag:         "gray_tag",
	RequestID:   "gray_request_id",
	TraceParent: "traceparent",
	TraceState:  "tracestate",
	Baggage:     "baggage",
	boundary:    boundaryMessage,
}

// MessagePropertyEnv is the user property with the producer's own tag. It serves diagnosis; nothing is decided by it.
const MessagePropertyEnv = "gray_env"

// BaggageEntry is our entry in a W3C baggage header, the optional second carrier.
const BaggageEntry = "gray-tag"

// MetadataTag is the key of an instance's own tag in the registry's metadata; absent means baseline.
// MetadataInstance and MetadataService name the instance and the service it belongs to (`b` for `b.rpc`), MetadataZone
// where it stands; absent means unknown.
const (
	MetadataTag      = "gray_tag"
	MetadataInstance = "gray_instance"
	MetadataService  = "gray_service"
	MetadataZone     = "gray_zone"
)

// Names of the rules document in the config centre.
const (
	RulesDataID = "graychain.yaml"
	RulesGroup  = "GRAYCHAIN"
)

// RPCServiceSuffix follows a service's name in the registry for its RPC endpoint: rules say b for both b and b.rpc.
const RPCServiceSuffix = ".rpc"

// Paths on a service's HTTP port.
const (
	StatusPath = "/graychain/status" // identity, rules revision, last refusal: a Status as JSON, always 200
	ReadyPath  = "/graychain/ready"  // 200 or 503, for probes

	MetricsPath = "/metrics" // for Prometheus; the program mounts it (package grayprom)
)

// ObserverPath is appended to the observer's URL: POST of NDJSON, one Event a line.
const ObserverPath = "/v1/events"

// Suffixes of consumer groups (design/messages.md): <group>_<tag> is a lane's, <group>__tagged the baseline's group for
// tagged messages. A tag can't begin with an underscore, so the two never meet.
const (
	GroupLaneInfix    = "_"
	GroupTaggedSuffix = "__tagged"
)

// LaneGroup is the name of a lane's group beside the base group.
func LaneGroup(base string, tag Tag) string { return base + GroupLaneInfix + string(tag) }

// TaggedGroup is the name of the baseline's group for tagged messages beside the base group.
func TaggedGroup(base string) string { return base + GroupTaggedSuffix }

// GroupResend is the group whose queue lock `graychain lanes resend` holds, and the start of the names of the groups whose
// offsets say which dead letters of a topic were sent again: <GroupResend>_<topic>. Nobody consumes in them.
const GroupResend = "GRAYCHAIN_RESEND"

// RedisHandledPrefix begins the keys of messages that were handled, in a Redis that is the idempotency hook's store
// (package grayredis): <prefix><message id>@<group>.
const RedisHandledPrefix = "graychain:handled:"

// Environment variables.
const (
	EnvTag               = "GRAY_TAG"
	EnvService           = "GRAY_SERVICE"
	EnvInstance          = "GRAY_INSTANCE"
	EnvAddr              = "GRAY_ADDR"    // host:port that hops show; default: where the first adapter listens
	EnvEnabled           = "GRAY_ENABLED" // on | off: the kill switch; off = no grayscale, and the service works on, see Runtime.Enabled
	EnvNacosAddr         = "GRAY_NACOS_ADDR"
	EnvNacosNamespace    = "GRAY_NACOS_NAMESPACE"
	EnvNacosUsername     = "GRAY_NACOS_USERNAME"
	EnvNacosPassword     = "GRAY_NACOS_PASSWORD"
	EnvNamesrvAddr       = "GRAY_NAMESRV_ADDR"
	EnvRocketMQAccessKey = "GRAY_ROCKETMQ_ACCESS_KEY"
	EnvRocketMQSecretKey = "GRAY_ROCKETMQ_SECRET_KEY"
	EnvObserver          = "GRAY_OBSERVER"
	EnvJournal           = "GRAY_JOURNAL"
	EnvMessages          = "GRAY_MESSAGES"
	EnvHops              = "GRAY_HOPS"            // on | off: every arrival here collects the hops below it, see WithHops; off where nothing is said
	EnvZone              = "GRAY_ZONE"            // where this process stands; instances of the same zone are preferred
	EnvTrustedProxies    = "GRAY_TRUSTED_PROXIES" // addresses and CIDRs of proxies whose X-Forwarded-For is believed, see Proxies
	EnvBaggage           = "GRAY_BAGGAGE"         // on | off: the tag in W3C baggage beside our own key; off where nothing is said
	EnvPresets           = "GRAY_PRESETS"         // other systems' keys beside ours: mse,polaris=<lane group>,sermant=<key>,joylive=<lane space id>
	EnvTrustKeys         = "GRAY_TRUST_KEYS"      // at the edge: keys of signed tags, id:base64[,id:base64…]
	EnvTrustCIDRs        = "GRAY_TRUST_CIDRS"     // at the edge: networks of direct peers whose tag is believed, CIDR[,CIDR…]
	EnvState             = "GRAY_STATE"           // folder for the last good rules document and the clients' caches
)

// strippedPrefixes are the HTTP forms of Kitex's metainfo, which a server with the HTTP bridge would believe.
var strippedPrefixes = []string{"rpc-persist-", "rpc-transit-"}

// strippedHeaders are the names that only our own services may set; the gateway takes them off what comes from outside.
var strippedHeaders = []string{
	HTTPKeys.Tag, HTTPKeys.Reason, HTTPKeys.RequestID, HTTPKeys.TraceParent, HTTPKeys.TraceState,
	HTTPKeys.Hops, HTTPKeys.Messages, HTTPSignedTag,
	MessageKeys.Tag, MessagePropertyEnv, MessageKeys.RequestID,
	RPCKeys.Tag, RPCKeys.Reason, RPCKeys.RequestID, RPCKeys.Hops, RPCKeys.Messages,
}
