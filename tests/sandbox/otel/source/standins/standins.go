// Package standins has receivers under the names of two that are not built here. They take the configuration of the real
// ones, so that one which names them is understood, and give no data. fluentforward is not served by the Go module registry
// at this version; prometheus would make the build twice as long, for metrics that no test looks at.
package standins

import (
	"context"
	"errors"
	"net"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
)

type forwardConfig struct {
	Endpoint string `mapstructure:"endpoint"`
}

func (c *forwardConfig) Validate() error {
	if c.Endpoint == "" {
		return errors.New("endpoint must not be empty")
	}
	return nil
}

// forward listens where the real receiver would.
type forward struct {
	endpoint string
	listener net.Listener
}

func (f *forward) Start(context.Context, component.Host) (err error) {
	f.listener, err = net.Listen("tcp", f.endpoint)
	return err
}

func (f *forward) Shutdown(context.Context) error {
	if f.listener == nil {
		return nil
	}
	return f.listener.Close()
}

// NewForward makes the stand-in of fluentforward.
func NewForward() receiver.Factory {
	return receiver.NewFactory(
		component.MustNewType("fluentforward"),
		func() component.Config { return &forwardConfig{} },
		receiver.WithLogs(func(
			_ context.Context, _ receiver.Settings, wanted component.Config, _ consumer.Logs,
		) (receiver.Logs, error) {
			return &forward{endpoint: wanted.(*forwardConfig).Endpoint}, nil
		}, component.StabilityLevelDevelopment),
	)
}

type scrapeConfig struct {
	Config map[string]any `mapstructure:"config"`
}

type scrape struct {
	component.StartFunc
	component.ShutdownFunc
}

// NewScrape makes the stand-in of prometheus.
func NewScrape() receiver.Factory {
	return receiver.NewFactory(
		component.MustNewType("prometheus"),
		func() component.Config { return &scrapeConfig{} },
		receiver.WithMetrics(func(
			context.Context, receiver.Settings, component.Config, consumer.Metrics,
		) (receiver.Metrics, error) {
			return scrape{}, nil
		}, component.StabilityLevelDevelopment),
	)
}
