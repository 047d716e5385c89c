#pragma once

#include "base/guid.h"

/* The instance of a NIC whose configuration names none: so, with its MAC address as the last
 * NET_MAC_BYTES. */
#define NETVSP_INSTANCE GUID_INIT(0x6e657476, 0x7370, 0x4e49, 0x80, 0x43, 0, 0, 0, 0, 0, 0)
