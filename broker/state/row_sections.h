/* Sections whose rows are in a struct row_table. */
#ifndef BROKER_STATE_ROW_SECTIONS_H
#define BROKER_STATE_ROW_SECTIONS_H

#include "broker/state/section.h"

extern const struct state_section deleted_section, resets_section, modes_section, forbidden_section, orders_section;

#endif
