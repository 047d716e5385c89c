#pragma once

#include "mgmt/vmms/settings_schema.h"

/* The members of Settings, with the limits that `bulkhead run` has. */
extern const struct schema_member settings_members[];

#define SETTINGS_FILE_PATH_MAX 4095
#define SETTINGS_LABEL_MAX     63
#define SETTINGS_APPEND_MAX    65536
#define SETTINGS_NOTES_MAX     16384
#define SETTINGS_ACCESS_MAX    64
