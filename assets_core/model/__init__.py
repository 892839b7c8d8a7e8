"""Values and ports: what the rest of Partita passes around. Nothing here does IO or decides anything."""
