//! Files of a stack in `.mayfly`.

pub(crate) mod paths;
pub(crate) mod stack_env;
pub(crate) mod stack_state;
