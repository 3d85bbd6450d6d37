package remoting

// Request codes (org.apache.rocketmq.remoting.protocol.RequestCode).
const (
	reqQueryConsumerOffset  = 14
	reqUpdateConsumerOffset = 15
	reqCreateTopic          = 17
	reqSearchOffset         = 29
	reqMaxOffset            = 30
	reqMinOffset            = 31
	reqConsumerList         = 38
	reqLockQueues           = 41
	reqUnlockQueues         = 42
	reqAllConsumerOffsets   = 43
	reqCheckClientConfig    = 46
	reqRoute                = 105
	reqClusterInfo          = 106
	reqCreateGroup          = 200
	reqAllGroups            = 201
	reqGroup                = 352 // 5.x
)

// Response codes (org.apache.rocketmq.remoting.protocol.ResponseCode).
const (
	codeSuccess         = 0
	codeSystemError     = 1
	codeNotSupported    = 3
	codeTopicNotExist   = 17
	codeQueryNotFound   = 22
	codeSubscriptionBad = 23
	codeGroupNotExist   = 26
)
