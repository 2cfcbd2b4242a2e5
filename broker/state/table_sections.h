/* Sections whose tables know nothing of the state. */
#ifndef BROKER_STATE_TABLE_SECTIONS_H
#define BROKER_STATE_TABLE_SECTIONS_H

#include "broker/state/section.h"

extern const struct state_section topics_section, groups_section, offsets_section, locks_section;

#endif
