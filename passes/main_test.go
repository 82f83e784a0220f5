package passes

import (
	"testing"

	"github.com/minfc/minfc/internal/campaign"
)

func TestMain(m *testing.M) { campaign.Run(m) }
