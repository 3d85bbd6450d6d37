package graylib

// StateTeller is a [Registry] that goes on registering in the background, so that Register's nil doesn't say that an endpoint
// is registered: it tells by itself. A runtime with such a registry takes the readiness of its endpoints from it.
type StateTeller interface {
	// OnState sets who is told about "registration <service>": why it isn't registered, or "" when it is. What is known is
	// told at once. fn must not block.
	OnState(fn func(component, why string))
}
