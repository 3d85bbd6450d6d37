package graylib

import "os"

// Config is what the environment says beside the identity: where the infrastructure is. Its zero value is what an empty
// environment says.
type Config struct {
	Disabled          bool   // GRAY_ENABLED=off; the kill switch is thrown
	NacosAddr         string // host:port[,host:port…]; empty = no registry and no rules: the tag is carried, nothing is chosen
	NacosNamespace    string
	NacosUsername     string
	NacosPassword     string
	NamesrvAddr       string // host:port[;host:port…]
	RocketMQAccessKey string
	RocketMQSecretKey string
	Observer          string  // base URL; empty = nothing is reported
	Journal           string  // folder; empty = no journal
	MessagesOff       bool    // GRAY_MESSAGES=off; no message grayscale in this service
	Hops              bool    // GRAY_HOPS; see WithHops
	Zone              string  // GRAY_ZONE; where this process stands, see WithZone
	TrustedProxies    Proxies // GRAY_TRUSTED_PROXIES; whose word about the client's address is believed
	Baggage           bool    // GRAY_BAGGAGE; see WithBaggage
	Presets           string  // GRAY_PRESETS; see WithPresets
	TrustKeys         string  // GRAY_TRUST_KEYS, secret; see WithTrust
	TrustCIDRs        string  // GRAY_TRUST_CIDRS
	State             string  // folder for the last good rules document; empty = the clients' default
}

// maxZone bounds the name of a zone: it stands in the registry's metadata of each endpoint (1024 bytes in all, in Nacos).
const maxZone = 64

// ConfigFrom reads the variables of design/wire.md by way of getenv (nil = [os.Getenv]). An on/off variable with another
// value is an error that names it.
func ConfigFrom(getenv func(string) string) (Config, error) {
	if getenv == nil {
		getenv = os.Getenv
	}
	c := Config{
		NacosAddr:         getenv(EnvNacosAddr),
		NacosNamespace:    getenv(EnvNacosNamespace),
		NacosUsername:     getenv(EnvNacosUsername),
		NacosPassword:     getenv(EnvNacosPassword),
		NamesrvAddr:       getenv(EnvNamesrvAddr),
		RocketMQAccessKey: getenv(EnvRocketMQAccessKey),
		RocketMQSecretKey: getenv(EnvRocketMQSecretKey),
		Observer:          getenv(EnvObserver),
		Journal:           getenv(EnvJournal),
		State:             getenv(EnvState),
		Presets:           getenv(EnvPresets),
		TrustKeys:         getenv(EnvTrustKeys),
		TrustCIDRs:        getenv(EnvTrustCIDRs),
		Zone:              getenv(EnvZone),
	}
	if c.Zone != "" && printable(c.Zone, maxZone) == "" {
		return Config{}, invalid(EnvZone, c.Zone, "want at most 64 characters of ASCII")
	}
	enabled, err := onOff(getenv, EnvEnabled)
	if err != nil {
		return Config{}, err
	}
	messages, err := onOff(getenv, EnvMessages)
	if err != nil {
		return Config{}, err
	}
	c.Disabled, c.MessagesOff = !enabled, !messages
	if c.TrustedProxies, err = ParseProxies(getenv(EnvTrustedProxies)); err != nil {
		return Config{}, err
	}
	for name, on := range map[string]*bool{EnvBaggage: &c.Baggage, EnvHops: &c.Hops} { // off where nothing is said
		if getenv(name) == "" {
			continue
		}
		if *on, err = onOff(getenv, name); err != nil {
			return Config{}, err
		}
	}
	if err := checkPropagation(c); err != nil {
		return Config{}, err
	}
	return c, nil
}

// onOff reads a switch that is on where nothing is said.
func onOff(getenv func(string) string, name string) (bool, error) {
	switch v := getenv(name); v {
	case "", "on":
		return true, nil
	case "off":
		return false, nil
	default:
		return false, invalid(name, v, "want on or off")
	}
}
