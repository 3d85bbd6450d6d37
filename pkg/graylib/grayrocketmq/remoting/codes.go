package remoting

// Request codes (org.apache.rocketmq.remoting.protocol.RequestCode).
const (
	reqSend                 = 10
	reqPull                 = 11
	reqQueryConsumerOffset  = 14
	reqUpdateConsumerOffset = 15
	reqCreateTopic          = 17
	reqBrokerConfig         = 26
	reqRuntimeInfo          = 28
	reqSearchOffset         = 29
	reqMaxOffset            = 30
	reqMinOffset            = 31
	reqHeartbeat            = 34
	reqUnregister           = 35
	reqSendBack             = 36
	reqConsumerList         = 38
	reqNotifyMembers        = 40 // from the broker
	reqLockQueues           = 41
	reqUnlockQueues         = 42
	reqAllConsumerOffsets   = 43
	reqCheckClientConfig    = 46
	reqRoute                = 105
	reqClusterInfo          = 106
	reqCreateGroup          = 200
	reqAllGroups            = 201
	reqConnections          = 203
	reqResetOffset          = 220 // from the broker
	reqTopicsOfGroup        = 343 // 4.9 and later
	reqGroup                = 352 // 5.x
)

// Response codes (org.apache.rocketmq.remoting.protocol.ResponseCode).
const (
	codeSuccess         = 0
	codeSystemError     = 1
	codeNotSupported    = 3
	codeTopicNotExist   = 17
	codePullNotFound    = 19
	codePullRetry       = 20
	codePullMoved       = 21
	codeQueryNotFound   = 22
	codeSubscriptionBad = 23
	codeGroupNotExist   = 26
	codeNotOnline       = 206
)
