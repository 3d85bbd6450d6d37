package graylib

import (
	"errors"
	"os"
	"strings"
)

// Config is what the environment says beside the identity: where the infrastructure is. Its zero value is what an empty
// environment says.
type Config struct {
	Disabled          bool   // GRAY_ENABLED=off; the kill switch is thrown, see Runtime.Enabled
	NacosAddr         string // host:port[,host:port…]; empty = no registry and no rules, see WithRegistry
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

	// Ignored is what was malformed and counts as unset because the kill switch is thrown, one line each.
	Ignored []string
}

// maxZone bounds the name of a zone: it stands in the registry's metadata of each endpoint (1024 bytes in all, in Nacos).
const maxZone = 64

// ConfigFrom reads the variables of design/wire.md by way of getenv (nil = [os.Getenv]), GRAY_ENABLED first. A malformed value is an error that
// names it; with the kill switch thrown it counts as unset, and stands in Config.Ignored, but for that of GRAY_ENABLED itself.
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
	enabled, err := onOff(getenv, EnvEnabled)
	if err != nil {
		return Config{}, err
	}
	c.Disabled = !enabled
	errs := []error{
		c.readZone(),
		c.readSwitches(getenv),
		c.readProxies(getenv),
		// One by one: with the switch thrown what is wrong with one leaves the others as they are.
		unsetIf(checkPropagation(Config{Presets: c.Presets}), &c.Presets),
		unsetIf(checkPropagation(Config{TrustKeys: c.TrustKeys}), &c.TrustKeys),
		unsetIf(checkPropagation(Config{TrustCIDRs: c.TrustCIDRs}), &c.TrustCIDRs),
	}
	for _, err := range errs {
		switch {
		case err != nil && !c.Disabled:
			return Config{}, err
		case err != nil:
			c.Ignored = append(c.Ignored, strings.ReplaceAll(err.Error(), "\n", "; ")) // a joined error has a line for each
		}
	}
	return c, nil
}

func (c *Config) readZone() error {
	if c.Zone == "" || printable(c.Zone, maxZone) != "" {
		return nil
	}
	return unsetIf(invalid(EnvZone, c.Zone, "want at most 64 characters of ASCII"), &c.Zone)
}

// readSwitches reads the switches but the kill switch.
func (c *Config) readSwitches(getenv func(string) string) error {
	messages, err := onOff(getenv, EnvMessages)
	errs := []error{err}
	c.MessagesOff = err == nil && !messages
	for name, on := range map[string]*bool{EnvBaggage: &c.Baggage, EnvHops: &c.Hops} { // off where nothing is said
		if getenv(name) == "" {
			continue
		}
		if *on, err = onOff(getenv, name); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (c *Config) readProxies(getenv func(string) string) error {
	proxies, err := ParseProxies(getenv(EnvTrustedProxies))
	if err != nil {
		return err
	}
	c.TrustedProxies = proxies
	return nil
}

// unsetIf unsets a value that is wrong.
func unsetIf(err error, value *string) error {
	if err != nil {
		*value = ""
	}
	return err
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
